package jlora.trainer.loop;

import jlora.runtime.backend.Backend;
import jlora.runtime.nn.StepInputs;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.trainer.data.Batch;

import java.lang.foreign.MemorySegment;

/** Places a step's inputs and fills them from a batch. */
public final class StepMemory {
    private StepMemory() {}

    public static void place(StepInputs inputs, MemoryArena arena) {
        long offset = 0;
        for (Storage storage : inputs.storages()) {
            arena.place(storage, offset);
            offset += MemoryArena.align(storage.bytes());
        }
    }

    /**
     * @param lossScale what the loss of each trained token counts, by adapter: that of adapter i at
     *     i + 1, and at 0 that of tokens without one
     * @param seed of dropout
     * @param microBatch number of the micro-batch in the run, for dropout
     */
    public static void upload(
            Backend backend,
            StepInputs inputs,
            Batch batch,
            float[] lossScale,
            long seed,
            long microBatch) {
        if (batch.masked() && inputs.keyMask().isEmpty()) {
            throw new IllegalArgumentException("a batch with hidden keys in a plan without a mask");
        }
        Batch padded = batch.padTo((int) inputs.tokens(), (int) inputs.sequences());
        float[] scale = new float[padded.capacityRows()];
        for (int t = 0; t < batch.tokens(); t++) {
            int adapter = padded.adapterOfRow()[t];
            if (adapter != 0 && !inputs.mixed()) {
                throw new IllegalArgumentException(
                        "token "
                                + t
                                + " uses adapter "
                                + adapter
                                + " in a plan whose tokens all use the first");
            }
            scale[t] = lossScale[adapter + 1];
        }
        backend.upload(inputs.ids(), MemorySegment.ofArray(padded.ids()));
        backend.upload(inputs.positions(), MemorySegment.ofArray(padded.positions()));
        backend.upload(inputs.targets(), MemorySegment.ofArray(padded.targets()));
        backend.upload(inputs.lossScale(), MemorySegment.ofArray(scale));
        backend.upload(inputs.cuSeqlens(), MemorySegment.ofArray(padded.cuSeqlens()));
        inputs.keyMask()
                .ifPresent(mask -> backend.upload(mask, MemorySegment.ofArray(padded.keyMask())));
        backend.upload(inputs.adapterOfRow(), MemorySegment.ofArray(padded.adapterOfRow()));
        backend.upload(
                inputs.rng(),
                MemorySegment.ofArray(
                        new int[] {(int) seed, (int) (seed >>> 32), (int) microBatch}));
    }
}
