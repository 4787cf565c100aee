package jlora.runtime.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.cpu.reference.ReferenceMerge;
import jlora.runtime.kernel.Correction;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;

/** Merging and unmerging, to the bit, by the vector kernel and the reference. */
final class CpuMergeTest {
    private static final CpuPool ONE = new CpuPool(1);
    private static final CpuPool THREE = new CpuPool(3);
    private static final int OUT = 150;
    private static final int IN = 530;
    private static final int RANK = 5;

    /** What a weight and a low-rank product may hold. */
    private enum Values {
        ORDINARY(0.02, 1e-3),
        TINY_DELTA(0.02, 1e-9),
        HUGE_DELTA(0.02, 1e30),
        DELTA_LIKE_WEIGHT(0.02, 0.02),
        DENORMAL(1e-41, 1e-40),
        NO_DELTA(0.02, 0);

        private final double weight;
        private final double delta;

        Values(double weight, double delta) {
            this.weight = weight;
            this.delta = delta;
        }
    }

    private record Case(DType dtype, Values values) {}

    /** A weight with factors, in memory of their own. */
    private record Matrices(MemoryArena arena, Tensor w, Tensor a, Tensor b)
            implements AutoCloseable {
        static Matrices of(DType dtype) {
            Tensor whole = Tensor.padded("w", Storage.Role.WEIGHT, dtype, OUT + RANK, IN, RANK + 3);
            MemoryArena arena = MemoryArena.host("w", MemoryArena.align(whole.storage().bytes()));
            arena.place(whole.storage(), 0);
            Tensor w = whole.rows(0, OUT);
            return new Matrices(arena, w, whole.rows(OUT, RANK), w.columns(IN, RANK));
        }

        void fill(Values values, long seed) {
            SplittableRandom random = new SplittableRandom(seed);
            double factor = Math.sqrt(values.delta / Math.sqrt(RANK));
            set(w, random, values.weight);
            set(a, random, factor);
            set(b, random, factor);
        }

        private static void set(Tensor to, SplittableRandom random, double sigma) {
            for (int r = 0; r < to.rows(); r++) {
                for (int c = 0; c < to.cols(); c++) {
                    double value =
                            switch (random.nextInt(16)) {
                                case 0 -> 0.0;
                                case 1 -> -0.0;
                                default -> sigma * random.nextGaussian();
                            };
                    put(to, r, c, (float) value);
                }
            }
        }

        @Override
        public void close() {
            arena.close();
        }
    }

    static void put(Tensor to, long row, long col, float value) {
        long at = to.byteOffset(row) + col * to.dtype().bytes();
        if (to.dtype() == DType.F32) {
            to.segment().set(ValueLayout.JAVA_FLOAT_UNALIGNED, at, value);
        } else {
            to.segment().set(ValueLayout.JAVA_SHORT_UNALIGNED, at, Rows.roundToBf16(value));
        }
    }

    private static byte[] bytes(Matrices matrices) {
        return matrices.arena().segment().toArray(ValueLayout.JAVA_BYTE);
    }

    static Stream<Case> cases() {
        return Stream.of(DType.F32, DType.BF16)
                .flatMap(dtype -> Arrays.stream(Values.values()).map(v -> new Case(dtype, v)));
    }

    @AfterAll
    static void close() {
        ONE.close();
        THREE.close();
    }

    @ParameterizedTest
    @MethodSource("cases")
    void mergesAsTheReferenceAndBackToTheSameBits(Case c) {
        List<byte[]> merged = new ArrayList<>();
        List<Long> corrected = new ArrayList<>();
        for (MergeKernel kernel :
                List.of(new ReferenceMerge(), new CpuMerge(ONE), new CpuMerge(THREE))) {
            try (Matrices m = Matrices.of(c.dtype)) {
                m.fill(c.values, 7);
                byte[] before = bytes(m);
                try (Correction record = kernel.prepare(m.w, m.a, m.b).orElseThrow()) {
                    assertArrayEquals(before, bytes(m), "preparing changes nothing");
                    kernel.merge(m.w, m.a, m.b, record);
                    merged.add(bytes(m));
                    corrected.add(record.corrected());
                    kernel.unmerge(m.w, m.a, m.b, record);
                }
                assertArrayEquals(before, bytes(m), c + " by " + kernel.getClass());
            }
        }
        for (int i = 1; i < merged.size(); i++) {
            assertArrayEquals(merged.get(0), merged.get(i), c.toString());
            assertEquals(corrected.get(0), corrected.get(i), c.toString());
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void thousandCyclesOfChangingAdaptersChangeNoBit(DType dtype) {
        MergeKernel kernel = new CpuMerge(ONE);
        try (Matrices m = Matrices.of(dtype)) {
            m.fill(Values.ORDINARY, 1);
            byte[] weights = weightBytes(m.w);
            for (int cycle = 0; cycle < 1000; cycle++) {
                SplittableRandom random = new SplittableRandom(cycle);
                Values values = Values.values()[cycle % Values.values().length];
                double factor = Math.sqrt(values.delta / Math.sqrt(RANK));
                Matrices.set(m.a, random, factor);
                Matrices.set(m.b, random, factor);
                try (Correction record = kernel.prepare(m.w, m.a, m.b).orElseThrow()) {
                    kernel.merge(m.w, m.a, m.b, record);
                    kernel.unmerge(m.w, m.a, m.b, record);
                }
                assertArrayEquals(weights, weightBytes(m.w), dtype + ", cycle " + cycle);
            }
        }
    }

    private static byte[] weightBytes(Tensor w) {
        int rowBytes = Math.toIntExact(w.cols() * w.dtype().bytes());
        byte[] all = new byte[Math.toIntExact(w.rows() * rowBytes)];
        for (int r = 0; r < w.rows(); r++) {
            byte[] row =
                    w.segment().asSlice(w.byteOffset(r), rowBytes).toArray(ValueLayout.JAVA_BYTE);
            System.arraycopy(row, 0, all, r * rowBytes, rowBytes);
        }
        return all;
    }

    /** Deltas of half a step round to even: up for odd weights, not at all for even ones. */
    @Test
    void deltasOfHalfAStepComeBack() {
        MergeKernel kernel = new CpuMerge(ONE);
        try (Matrices m = Matrices.of(DType.BF16)) {
            for (int r = 0; r < OUT; r++) {
                for (int c = 0; c < IN; c++) {
                    put(m.w, r, c, (c % 2 == 0 ? 1 : -1) * (1 + (c + r) % 128 * 0x1p-7f));
                }
            }
            for (int c = 0; c < IN; c++) {
                put(m.a, 0, c, 0x1p-8f);
            }
            for (int r = 0; r < OUT; r++) {
                put(m.b, r, 0, r % 3 == 0 ? -1 : 1);
            }
            byte[] before = bytes(m);
            try (Correction record = kernel.prepare(m.w, m.a, m.b).orElseThrow()) {
                assertTrue(record.corrected() > 0, "ties lose bits");
                kernel.merge(m.w, m.a, m.b, record);
                assertNotEquals(Arrays.hashCode(before), Arrays.hashCode(bytes(m)));
                kernel.unmerge(m.w, m.a, m.b, record);
            }
            assertArrayEquals(before, bytes(m));
        }
    }

    @Test
    void everyFormOfRecordIsUsedWhereItIsCheapest() {
        Fill weights = random -> 0.02 * random.nextGaussian();
        assertEquals(Correction.Kind.NONE, kind(DType.BF16, weights, 0));
        assertEquals(Correction.Kind.SPARSE, kind(DType.BF16, weights, 1e-4));
        assertEquals(Correction.Kind.SPARSE, kind(DType.F32, weights, 1e-4));
        assertEquals(Correction.Kind.COPY, kind(DType.BF16, weights, 1e5));
        assertEquals(Correction.Kind.COPY, kind(DType.F32, weights, 1e30));
        // All of these grow beyond 2 and lose their last bit: every other one is a step off.
        Fill below2 = random -> random.nextDouble(1.75, 1.99);
        assertEquals(Correction.Kind.CODES, kind(DType.BF16, below2, 0.5));
        assertEquals(Correction.Kind.CODES, kind(DType.F32, below2, 0.5));
    }

    private interface Fill {
        double at(SplittableRandom random);
    }

    private static Correction.Kind kind(DType dtype, Fill weights, double delta) {
        MergeKernel kernel = new CpuMerge(ONE);
        try (Matrices m = Matrices.of(dtype)) {
            SplittableRandom random = new SplittableRandom(3);
            for (int r = 0; r < OUT; r++) {
                for (int c = 0; c < IN; c++) {
                    put(m.w, r, c, (float) weights.at(random));
                }
                put(m.b, r, 0, 1);
            }
            for (int c = 0; c < IN; c++) {
                put(m.a, 0, c, (float) (delta * (delta == 0.5 ? 1 : random.nextGaussian())));
            }
            byte[] before = bytes(m);
            try (Correction record = kernel.prepare(m.w, m.a, m.b).orElseThrow()) {
                long copy = m.w.elements() * dtype.bytes() + 1024;
                assertTrue(record.bytes() <= copy, record.kind() + " of " + record.bytes());
                kernel.merge(m.w, m.a, m.b, record);
                kernel.unmerge(m.w, m.a, m.b, record);
                assertArrayEquals(before, bytes(m), record.kind().toString());
                return record.kind();
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void refusesWhatIsNotFiniteAndChangesNothing(DType dtype) {
        float[] bad = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY};
        for (MergeKernel kernel : List.of(new ReferenceMerge(), new CpuMerge(THREE))) {
            for (float value : bad) {
                for (int where = 0; where < 3; where++) {
                    try (Matrices m = Matrices.of(dtype)) {
                        m.fill(Values.ORDINARY, 5);
                        Tensor t = List.of(m.w, m.a, m.b).get(where);
                        put(t, t.rows() - 1, t.cols() - 1, value);
                        byte[] before = bytes(m);
                        assertTrue(kernel.prepare(m.w, m.a, m.b).isEmpty(), value + " in " + where);
                        assertArrayEquals(before, bytes(m));
                    }
                }
            }
            try (Matrices m = Matrices.of(dtype)) {
                m.fill(Values.NO_DELTA, 5);
                put(m.w, 3, 529, 3e38f);
                put(m.a, 0, 529, 1e19f);
                put(m.b, 3, 0, 3e19f);
                assertTrue(kernel.prepare(m.w, m.a, m.b).isEmpty(), "the sum overflows");
            }
        }
    }

    /** Finite in f32, but the nearest bf16 is infinite. */
    @Test
    void refusesASumThatRoundsToInfinity() {
        for (MergeKernel kernel : List.of(new ReferenceMerge(), new CpuMerge(ONE))) {
            try (Matrices m = Matrices.of(DType.BF16)) {
                put(m.w, 0, 0, Float.intBitsToFloat(0x7f7f0000));
                put(m.a, 0, 0, 0x1p119f);
                put(m.b, 0, 0, 0.99f);
                assertTrue(kernel.prepare(m.w, m.a, m.b).isPresent());
                put(m.b, 0, 0, 1f);
                assertTrue(kernel.prepare(m.w, m.a, m.b).isEmpty());
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void fingerprintSeesEveryBitAndNoStride(DType dtype) {
        MergeKernel reference = new ReferenceMerge();
        try (Matrices m = Matrices.of(dtype)) {
            m.fill(Values.ORDINARY, 11);
            long print = reference.fingerprint(m.w);
            for (CpuPool pool : List.of(ONE, THREE)) {
                assertEquals(print, new CpuMerge(pool).fingerprint(m.w));
            }
            MergeKernel kernel = new CpuMerge(ONE);
            SplittableRandom random = new SplittableRandom(2);
            for (int i = 0; i < 200; i++) {
                long row = i < 2 ? OUT - 1 : random.nextInt(OUT);
                long byteOfRow =
                        i < 2
                                ? m.w.cols() * dtype.bytes() - 1
                                : random.nextLong(m.w.cols() * dtype.bytes());
                flip(m.w, row, byteOfRow, 1 << random.nextInt(8), kernel, print);
            }
            m.b.segment().set(ValueLayout.JAVA_BYTE, m.b.byteOffset(0), (byte) 77);
            assertEquals(print, kernel.fingerprint(m.w), "the border is not the weight");
        }
    }

    private static void flip(Tensor w, long row, long at, int bit, MergeKernel kernel, long print) {
        long offset = w.byteOffset(row) + at;
        byte was = w.segment().get(ValueLayout.JAVA_BYTE, offset);
        w.segment().set(ValueLayout.JAVA_BYTE, offset, (byte) (was ^ bit));
        assertNotEquals(print, kernel.fingerprint(w), "byte " + at + " of row " + row);
        w.segment().set(ValueLayout.JAVA_BYTE, offset, was);
        assertEquals(print, kernel.fingerprint(w));
    }

    /** Rows that change places, or two equal changes, must not cancel out. */
    @Test
    void fingerprintSeesExchangedRows() {
        MergeKernel kernel = new CpuMerge(ONE);
        try (Matrices m = Matrices.of(DType.BF16)) {
            m.fill(Values.ORDINARY, 12);
            long print = kernel.fingerprint(m.w);
            byte[] first = weightBytes(m.w.rows(0, 1));
            byte[] second = weightBytes(m.w.rows(1, 1));
            for (int i = 0; i < first.length; i++) {
                m.w.segment().set(ValueLayout.JAVA_BYTE, m.w.byteOffset(0) + i, second[i]);
                m.w.segment().set(ValueLayout.JAVA_BYTE, m.w.byteOffset(1) + i, first[i]);
            }
            assertNotEquals(print, kernel.fingerprint(m.w));
        }
    }
}
