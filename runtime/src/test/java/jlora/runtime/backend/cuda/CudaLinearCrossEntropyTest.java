package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Routine;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.kernel.LinearCrossEntropyKernel.Workspace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.HostValues;
import jlora.runtime.weight.Placement;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;

/** What op cases do not show: captured once, the kernels follow targets that change. */
final class CudaLinearCrossEntropyTest {
    private static final int TOKENS = 10;
    private static final int IN = 16;
    private static final int VOCABULARY = 24;
    private static final int CHUNK = 3;

    private static Emulator emulator;
    private static CudaBackend backend;

    @BeforeAll
    static void open() {
        emulator = Emulator.open();
        backend = emulator.backend();
    }

    @AfterAll
    static void close() {
        if (backend != null) {
            backend.close();
            assertEquals("", emulator.brokenGuards());
        }
    }

    /** A head in the memory of a backend. */
    private static final class Head implements AutoCloseable {
        private final Backend memory;
        private final Tensor loss = tensor("loss", DType.F32, 1, 1);
        private final Tensor dx = tensor("dx", DType.F32, TOKENS, IN);
        private final Tensor x = tensor("x", DType.F32, TOKENS, IN);
        private final Tensor weight = tensor("weight", DType.F32, VOCABULARY, IN);
        private final Tensor targets = tensor("targets", DType.I32, 1, TOKENS);
        private final Tensor scale = tensor("scale", DType.F32, 1, TOKENS);
        private final Tensor logits = tensor("logits", DType.F32, CHUNK, VOCABULARY);
        private final Tensor rows = tensor("rows", DType.F32, CHUNK, IN);
        private final Tensor dRows = tensor("dRows", DType.F32, CHUNK, IN);
        private final MemoryArena arena;

        Head(Backend memory) {
            this.memory = memory;
            List<Tensor> all = List.of(loss, dx, x, weight, targets, scale, logits, rows, dRows);
            List<Storage> storages = all.stream().map(Tensor::storage).toList();
            arena = Placement.allocate(memory, "head", storages);
            SplittableRandom random = new SplittableRandom(4);
            for (Tensor tensor : List.of(x, weight, scale)) {
                float[] values = new float[(int) tensor.elements()];
                for (int i = 0; i < values.length; i++) {
                    values[i] = (float) random.nextGaussian();
                }
                HostValues.write(memory, tensor, values, 1);
            }
        }

        private static Tensor tensor(String name, DType dtype, long rows, long cols) {
            return Tensor.dense(name, Storage.Role.WORKSPACE, dtype, rows, cols);
        }

        void targets(int... ids) {
            memory.upload(targets, MemorySegment.ofArray(ids));
        }

        void run(long mostTargets) {
            memory.kernels()
                    .linearCrossEntropy()
                    .forwardBackward(
                            loss,
                            dx,
                            Optional.empty(),
                            x,
                            weight,
                            targets,
                            scale,
                            0.1f,
                            mostTargets,
                            new Workspace(logits, logits, rows, dRows));
        }

        float loss() {
            return HostValues.read(memory, loss)[0];
        }

        boolean hasGradients() {
            for (float value : HostValues.read(memory, dx)) {
                if (Float.isNaN(value)) {
                    return false;
                }
            }
            return true;
        }

        @Override
        public void close() {
            arena.close();
        }
    }

    @ParameterizedTest
    @ValueSource(longs = {5, TOKENS})
    void aCapturedStepFollowsItsTargets(long mostTargets) {
        int[][] batches = {
            {1, -100, 3, -100, 5, -100, 7, -100, 9, -100},
            {-100, -100, -100, -100, -100, 20, 21, 22, 23, 0},
            {-100, -100, -100, -100, -100, -100, -100, -100, -100, -100},
            {-100, -100, 11, -100, -100, -100, -100, -100, -100, 12},
        };
        try (Backend host = new ReferenceBackend();
                Head expected = new Head(host);
                Head head = new Head(backend);
                Routine routine = backend.routine("step", () -> head.run(mostTargets))) {
            for (int[] batch : batches) {
                expected.targets(batch);
                expected.run(TOKENS);
                head.targets(batch);
                routine.run();
                assertEquals(expected.loss(), head.loss(), 1e-5);
                assertArrayEquals(
                        HostValues.read(host, expected.dx),
                        HostValues.read(backend, head.dx),
                        1e-5f);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {VOCABULARY, -1, Integer.MAX_VALUE, Integer.MIN_VALUE})
    void aTargetOutsideTheVocabularyMakesLossAndGradientNaN(int target) {
        try (Head head = new Head(backend)) {
            for (long mostTargets : new long[] {2, TOKENS}) {
                head.targets(-100, 3, -100, -100, target, -100, -100, -100, -100, -100);
                head.run(mostTargets);
                assertTrue(Float.isNaN(head.loss()));
                assertFalse(head.hasGradients());
                head.targets(-100, 3, -100, -100, 4, -100, -100, -100, -100, -100);
                head.run(mostTargets);
                assertTrue(Float.isFinite(head.loss()));
                assertTrue(head.hasGradients());
            }
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void moreTargetsThanPromisedMakeLossAndGradientNaN(int promised) {
        try (Head head = new Head(backend)) {
            head.targets(0, 1, 2, -100, -100, -100, -100, -100, -100, -100);
            head.run(TOKENS);
            assertTrue(head.hasGradients());
            head.run(promised);
            assertTrue(Float.isNaN(head.loss()));
            assertFalse(head.hasGradients());
        }
    }
}
