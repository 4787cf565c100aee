package jlora.runtime.backend.cpu;

import static java.lang.foreign.ValueLayout.ADDRESS;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * Owns handles of oneDNN and memory for their arguments; closing destroys them, the latest first.
 */
final class OneDnnScope implements AutoCloseable {
    /** A call that stores a new handle at {@code out} and returns a status. */
    @FunctionalInterface
    interface Creator {
        int run(MemorySegment out) throws Throwable;
    }

    private record Handle(MethodHandle destroy, MemorySegment at) {}

    private final Object what;
    private final Arena arena = Arena.ofShared();
    private final Deque<Handle> handles = new ArrayDeque<>();

    /** {@code what} names the purpose in errors. */
    OneDnnScope(Object what) {
        this.what = what;
    }

    /** Memory that lives as long as this scope. */
    Arena arena() {
        return arena;
    }

    MemorySegment create(String name, MethodHandle destroy, Creator creator) {
        MemorySegment out = arena.allocate(ADDRESS);
        OneDnn.check(name, what, () -> creator.run(out));
        MemorySegment handle = out.get(ADDRESS, 0);
        handles.push(new Handle(destroy, handle));
        return handle;
    }

    @Override
    public void close() {
        for (Handle handle; (handle = handles.poll()) != null; ) {
            MethodHandle destroy = handle.destroy();
            MemorySegment at = handle.at();
            OneDnn.check("destroy call", what, () -> (int) destroy.invokeExact(at));
        }
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
