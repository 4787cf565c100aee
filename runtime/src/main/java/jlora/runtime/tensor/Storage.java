package jlora.runtime.tensor;

import java.lang.foreign.MemorySegment;
import java.util.Objects;

/**
 * A contiguous run of bytes that tensors are views of. It is virtual until a {@link MemoryArena}
 * places it: plans are traced, costed and laid out over virtual storages.
 */
public final class Storage {
    /** What the bytes are for: the line items of a memory plan. */
    public enum Role {
        WEIGHT("weights"),
        ADAPTER("adapters"),
        MASTER("trainable parameters (f32)"),
        GRADIENT("gradients"),
        OPTIMIZER("optimizer moments"),
        CONSTANT("constants"),
        INPUT("batch inputs"),
        ACTIVATION("activations"),
        WORKSPACE("workspace"),
        LOGITS("logits chunk"),
        EXPANSION("expanded weights"),
        RESULT("results"),
        KV_CACHE("key/value cache");

        private final String label;

        Role(String label) {
            this.label = label;
        }

        public String label() {
            return label;
        }

        /** True for bytes that live only inside one run of a plan and share the plan's arena. */
        public boolean planned() {
            return this == ACTIVATION || this == WORKSPACE || this == LOGITS || this == EXPANSION;
        }

        /**
         * True for bytes that a step of the backward pass finds as those of the forward pass found
         * them, without anything being kept for it: expansions are filled again.
         */
        public boolean outlivesPass() {
            return !planned() || this == EXPANSION;
        }
    }

    private final String name;
    private final Role role;
    private final long bytes;
    private MemorySegment segment;
    private long address;

    public Storage(String name, Role role, long bytes) {
        if (bytes < 0) {
            throw new IllegalArgumentException(name + ": " + bytes + " bytes");
        }
        this.name = Objects.requireNonNull(name);
        this.role = Objects.requireNonNull(role);
        this.bytes = bytes;
    }

    public String name() {
        return name;
    }

    public Role role() {
        return role;
    }

    public long bytes() {
        return bytes;
    }

    /** The host memory of this storage, exactly {@link #bytes} long. */
    public MemorySegment segment() {
        if (segment == null) {
            throw new IllegalStateException("storage '" + name + "' is not placed in host memory");
        }
        return segment;
    }

    /** The device address of this storage. */
    public long address() {
        if (address == 0) {
            throw new IllegalStateException(
                    "storage '" + name + "' is not placed in device memory");
        }
        return address;
    }

    /** True where it is placed in memory of the host. */
    public boolean inHostMemory() {
        return segment != null;
    }

    void placeHost(MemorySegment at) {
        if (at.byteSize() != bytes) {
            throw new IllegalArgumentException(
                    name + ": " + bytes + " bytes placed in " + at.byteSize());
        }
        segment = at;
        address = 0;
    }

    void placeDevice(long at) {
        address = at;
        segment = null;
    }

    @Override
    public String toString() {
        return name + " (" + role.label() + ", " + bytes + " bytes)";
    }
}
