package jlora.runtime.cases;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.reference.Elements;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;

/**
 * A {@link Problem} in the memory of a backend, with a copy of every byte on the host to read and
 * write through.
 */
public final class Placed<K> implements AutoCloseable {
    /** NaN as f32, as either half of it in bf16, and no index of anything. */
    public static final int POISON_NAN = 0x7fc17fc1;

    /** An ordinary number, about 100, in both float types. */
    public static final int POISON_FINITE = 0x42c842c8;

    private final Problem<K> problem;
    private final Backend memory;
    private final List<MemoryArena> arenas = new ArrayList<>();
    private final List<MemorySegment> images = new ArrayList<>();
    private final List<Tensor> raw = new ArrayList<>();
    private final Map<Slot, Tensor> tensors = new HashMap<>();
    private final Map<Slot, Tensor> mirrors = new HashMap<>();

    /** Allocates and fills every tensor. */
    public Placed(Problem<K> problem, Backend memory, int poison) {
        this.problem = problem;
        this.memory = memory;
        List<Storage> storages = new ArrayList<>();
        List<Storage> mirrorStorages = new ArrayList<>();
        for (long bytes : problem.bufferBytes()) {
            MemoryArena host = MemoryArena.host(problem.name(), bytes);
            MemoryArena arena = memory.allocate(problem.name(), bytes);
            arenas.add(host);
            arenas.add(arena);
            storages.add(place(arena, bytes));
            mirrorStorages.add(place(host, bytes));
            images.add(host.segment());
            raw.add(view("raw", storages.getLast(), DType.I32, 1, bytes / 4, 0, bytes / 4));
        }
        for (Slot slot : problem.slots()) {
            tensors.put(slot, view(slot, storages.get(slot.buffer())));
            mirrors.put(slot, view(slot, mirrorStorages.get(slot.buffer())));
        }
        fill(poison);
    }

    private static Storage place(MemoryArena arena, long bytes) {
        Storage storage = new Storage(arena.label(), Storage.Role.WORKSPACE, bytes);
        arena.place(storage, 0);
        return storage;
    }

    private static Tensor view(Slot slot, Storage storage) {
        return view(
                slot.name(),
                storage,
                slot.dtype(),
                slot.rows(),
                slot.cols(),
                slot.offset(),
                slot.stride());
    }

    private static Tensor view(
            String name,
            Storage storage,
            DType dtype,
            long rows,
            long cols,
            long offset,
            long stride) {
        return new Tensor(name, storage, dtype, rows, cols, offset, stride);
    }

    /** Gives every tensor its first contents again. */
    public void fill(int poison) {
        for (MemorySegment image : images) {
            for (long at = 0; at < image.byteSize(); at += 4) {
                image.set(ValueLayout.JAVA_INT, at, poison);
            }
        }
        long seed = problem.name().hashCode();
        for (Slot slot : problem.slots()) {
            seed = seed * 31 + slot.name().hashCode();
            if (slot.fill().isEmpty()) {
                continue;
            }
            SplittableRandom random = new SplittableRandom(seed);
            Tensor mirror = mirrors.get(slot);
            for (long r = 0; r < slot.rows(); r++) {
                for (long c = 0; c < slot.cols(); c++) {
                    double value = slot.fill().get().at(random, r, c);
                    if (slot.dtype() == DType.I32 || slot.dtype() == DType.U8) {
                        Elements.setInt(mirror, r, c, (int) value);
                    } else {
                        Elements.set(mirror, r, c, value);
                    }
                }
            }
        }
        upload();
    }

    /** Sends the host's copy to the backend. */
    void upload() {
        for (int i = 0; i < images.size(); i++) {
            memory.upload(raw.get(i), images.get(i));
        }
    }

    /** Brings the host's copy up to date. */
    void download() {
        memory.synchronize();
        for (int i = 0; i < images.size(); i++) {
            memory.download(images.get(i), raw.get(i));
        }
    }

    /** Runs one pass. */
    public void call(K kernel, Pass<K> pass) {
        pass.call().run(kernel, tensors::get);
        memory.synchronize();
    }

    public Problem<K> problem() {
        return problem;
    }

    /** The host's copy of a tensor. */
    Tensor mirror(Slot slot) {
        return mirrors.get(slot);
    }

    /** The host's copy of every storage, guard zones included. */
    List<byte[]> snapshot() {
        return images.stream().map(image -> image.toArray(ValueLayout.JAVA_BYTE)).toList();
    }

    /** Replaces tensors of the host's copy by those of another placement. */
    void copyFrom(Placed<K> other, List<Slot> slots) {
        for (Slot slot : slots) {
            Tensor to = mirrors.get(slot);
            Tensor from = other.mirrors.get(slot);
            long rowBytes = slot.cols() * slot.dtype().bytes();
            for (long r = 0; r < slot.rows(); r++) {
                long at = to.byteOffset(r);
                MemorySegment.copy(from.segment(), at, to.segment(), at, rowBytes);
            }
        }
    }

    @Override
    public void close() {
        arenas.forEach(MemoryArena::close);
    }
}
