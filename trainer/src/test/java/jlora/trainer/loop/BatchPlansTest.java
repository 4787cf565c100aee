package jlora.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.trainer.data.Batch;
import jlora.trainer.data.Example;

import org.junit.jupiter.api.Test;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

class BatchPlansTest {
    private static final Batch PLAIN = Batch.of(List.of(Example.of(5, 6, 7)));
    private static final Batch HIDING =
            Batch.of(
                    List.of(
                            new Example(
                                    new int[] {5, 6, 7},
                                    new int[] {5, 6, 7},
                                    new int[] {1, 0, 1},
                                    3)));

    @Test
    void batchesThatHideKeysHaveAPlanOfTheirOwn() {
        BatchPlans plans =
                new BatchPlans(
                        8, 2, 8, false, (inputs, longest) -> Trace.inference(DType.F32).finish());
        try (Backend backend = new CpuBackend(new CpuOptions(1, ProductLibrary.AUTO));
                MemoryArena arena = backend.allocate("plan", 256);
                MemoryArena inputs = backend.allocate("inputs", plans.inputBytes())) {
            plans.bind(arena, inputs);
            BatchPlans.Entry plain = plans.of(PLAIN);
            BatchPlans.Entry hiding = plans.of(HIDING);
            assertTrue(plain.inputs().keyMask().isEmpty());
            assertNotSame(plain, hiding);
            assertSame(plain, plans.of(PLAIN));
            assertSame(hiding, plans.of(HIDING));
            StepMemory.upload(backend, hiding.inputs(), HIDING, new float[2], 0, 0);
            int[] mask = new int[(int) hiding.inputs().tokens()];
            backend.download(MemorySegment.ofArray(mask), hiding.inputs().keyMask().orElseThrow());
            assertArrayEquals(new int[] {1, 0, 1}, Arrays.copyOf(mask, 3));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> StepMemory.upload(backend, plain.inputs(), HIDING, new float[2], 0, 0));
        }
    }

    @Test
    void promptsHavePlansThatComputeFewerTargets() {
        BatchPlans plans =
                new BatchPlans(
                        64, 2, 64, false, (inputs, longest) -> Trace.inference(DType.F32).finish());
        try (Backend backend = new CpuBackend(new CpuOptions(1, ProductLibrary.AUTO));
                MemoryArena arena = backend.allocate("plan", 256);
                MemoryArena inputs = backend.allocate("inputs", plans.inputBytes())) {
            plans.bind(arena, inputs);
            assertSame(plans.largest(), plans.of(withTargets(63)));
            assertEquals(64, plans.largest().inputs().mostTargets());
            assertSame(plans.largest(), plans.of(withTargets(49)));
            BatchPlans.Entry most = plans.of(withTargets(48));
            assertEquals(48, most.inputs().mostTargets());
            assertSame(most, plans.of(withTargets(33)));
            assertEquals(32, plans.of(withTargets(32)).inputs().mostTargets());
            assertEquals(16, plans.of(withTargets(16)).inputs().mostTargets());
            assertEquals(16, plans.of(withTargets(0)).inputs().mostTargets());
        }
    }

    /** A row of 64 tokens, of which the last ones have to be predicted. */
    private static Batch withTargets(int targets) {
        int[] ids = new int[64];
        int[] labels = new int[64];
        int[] mask = new int[64];
        Arrays.fill(ids, 5);
        Arrays.fill(labels, 0, 64 - targets, -100);
        Arrays.fill(labels, 64 - targets, 64, 5);
        Arrays.fill(mask, 1);
        return Batch.ofAllTokens(List.of(new Example(ids, labels, mask, 64)));
    }
}
