package jlora.runtime.weight;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;

import java.util.List;

/** Places storages that live as long as their owner, one behind the other, in one allocation. */
public final class Placement {
    private Placement() {}

    public static long bytes(List<Storage> storages) {
        return storages.stream().mapToLong(s -> MemoryArena.align(s.bytes())).sum();
    }

    public static MemoryArena allocate(Backend backend, String label, List<Storage> storages) {
        return place(backend.allocate(label, bytes(storages)), storages);
    }

    static MemoryArena place(MemoryArena arena, List<Storage> storages) {
        long offset = 0;
        for (Storage storage : storages) {
            arena.place(storage, offset);
            offset += MemoryArena.align(storage.bytes());
        }
        return arena;
    }
}
