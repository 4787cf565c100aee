package jlora.trainer.metrics;

import jlora.runtime.backend.Backend;

import java.util.OptionalLong;

/**
 * Memory in use on a backend's device, as somebody else than jlora counts it: the driver of a GPU,
 * which leaves out what was taken before the backend was opened, or the operating system, to which
 * the whole process is one.
 */
public final class UsedMemory {
    private UsedMemory() {}

    /** Bytes; empty where nobody counts. */
    public static OptionalLong bytes(Backend backend) {
        if (!backend.asynchronous()) {
            return ResidentMemory.bytes();
        }
        long used = backend.usedBytes();
        return used > 0 ? OptionalLong.of(used) : OptionalLong.empty();
    }

    /** The most that there ever was; empty where nobody remembers. */
    public static OptionalLong peak(Backend backend) {
        return backend.asynchronous() ? OptionalLong.empty() : ResidentMemory.peak();
    }

    /** Who counts. */
    public static String countedBy(Backend backend) {
        return backend.asynchronous() ? "driver" : "operating system";
    }
}
