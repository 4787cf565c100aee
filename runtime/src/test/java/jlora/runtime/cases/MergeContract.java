package jlora.runtime.cases;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.reference.Elements;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.backend.cpu.reference.ReferenceMerge;
import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.stream.Stream;

/** Merging and unmerging to the bit: the tests of every backend's kernel. */
public abstract class MergeContract {
    private static final MergeKernel REFERENCE = new ReferenceMerge();

    /** Rows that are whole 16 bytes have other paths than rows that are not. */
    private static final int[] PADS = {3, 3 + 8 - (530 + 8) % 8};

    protected abstract MergeKernel kernel();

    protected abstract Backend memory();

    /** Merges of ever new adapters; as many as this kernel makes in seconds. */
    protected abstract int cycles();

    /** The most bytes that the record of a weight may take. */
    protected abstract long mostBytes(Tensor w);

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

    static Stream<Case> cases() {
        return Stream.of(DType.F32, DType.BF16)
                .flatMap(dtype -> Arrays.stream(Values.values()).map(v -> new Case(dtype, v)));
    }

    private MergeMatrices matrices(DType dtype) {
        return new MergeMatrices(memory(), dtype, PADS[0]);
    }

    private static void fill(MergeMatrices m, Values values, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        MergeMatrices.set(m.w(), random, values.weight);
        m.setFactors(random, values.delta);
        m.upload();
    }

    private static Corrections.Matrix only(Corrections corrections) {
        assertEquals(1, corrections.matrices().size());
        return corrections.matrices().getFirst();
    }

    /** Merges and unmerges; returns what the memory held in between. */
    private byte[] roundTrip(MergeMatrices m, String what) {
        byte[] before = m.bytes();
        List<MergeKernel.Part> parts = List.of(m.part());
        try (Corrections corrections = kernel().merge(parts).orElseThrow()) {
            byte[] merged = m.bytes();
            kernel().unmerge(parts, corrections);
            assertArrayEquals(before, m.bytes(), what);
            return merged;
        }
    }

    @ParameterizedTest
    @MethodSource("cases")
    void mergesAsTheReferenceAndBackToTheSameBits(Case c) {
        byte[] expected;
        long corrected;
        try (Backend host = new ReferenceBackend();
                MergeMatrices m = new MergeMatrices(host, c.dtype, PADS[0])) {
            fill(m, c.values, 7);
            byte[] before = m.bytes();
            List<MergeKernel.Part> parts = List.of(m.part());
            try (Corrections corrections = REFERENCE.merge(parts).orElseThrow()) {
                expected = m.bytes();
                corrected = only(corrections).corrected();
                REFERENCE.unmerge(parts, corrections);
            }
            assertArrayEquals(before, m.bytes(), "the reference itself");
        }
        try (MergeMatrices m = matrices(c.dtype)) {
            fill(m, c.values, 7);
            assertArrayEquals(expected, roundTrip(m, c.toString()), c.toString());
            try (Corrections corrections = kernel().merge(List.of(m.part())).orElseThrow()) {
                assertEquals(corrected, only(corrections).corrected(), c.toString());
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void changingAdaptersChangeNoBit(DType dtype) {
        try (MergeMatrices m = matrices(dtype)) {
            fill(m, Values.ORDINARY, 1);
            for (int cycle = 0; cycle < cycles(); cycle++) {
                Values values = Values.values()[cycle % Values.values().length];
                m.setFactors(new SplittableRandom(cycle), values.delta);
                m.upload();
                roundTrip(m, dtype + ", cycle " + cycle);
            }
        }
    }

    /** Deltas of half a step round to even: up for odd weights, not at all for even ones. */
    @Test
    void deltasOfHalfAStepComeBack() {
        try (MergeMatrices m = matrices(DType.BF16)) {
            for (int r = 0; r < m.w().rows(); r++) {
                for (int c = 0; c < m.w().cols(); c++) {
                    double value = (c % 2 == 0 ? 1 : -1) * (1 + (c + r) % 128 * 0x1p-7);
                    Elements.set(m.w(), r, c, value);
                }
                Elements.set(m.b(), r, 0, r % 3 == 0 ? -1 : 1);
            }
            for (int c = 0; c < m.a().cols(); c++) {
                Elements.set(m.a(), 0, c, 0x1p-8);
            }
            m.upload();
            byte[] before = m.bytes();
            assertFalse(Arrays.equals(before, roundTrip(m, "ties")));
            try (Corrections corrections = kernel().merge(List.of(m.part())).orElseThrow()) {
                assertTrue(only(corrections).corrected() > 0, "ties lose bits");
            }
        }
    }

    @Test
    void everyFormOfRecordIsUsedWhereItIsCheapest() {
        Weights normal = random -> 0.02 * random.nextGaussian();
        assertEquals(Corrections.Kind.NONE, kind(DType.BF16, normal, 0));
        assertEquals(Corrections.Kind.SPARSE, kind(DType.BF16, normal, 1e-4));
        assertEquals(Corrections.Kind.SPARSE, kind(DType.F32, normal, 1e-4));
        assertEquals(Corrections.Kind.COPY, kind(DType.BF16, normal, 1e5));
        assertEquals(Corrections.Kind.COPY, kind(DType.F32, normal, 1e30));
        // All of these grow beyond 2 and lose their last bit: every other one is a step off.
        Weights below2 = random -> random.nextDouble(1.75, 1.99);
        assertEquals(Corrections.Kind.CODES, kind(DType.BF16, below2, 0.5));
        assertEquals(Corrections.Kind.CODES, kind(DType.F32, below2, 0.5));
    }

    private interface Weights {
        double at(SplittableRandom random);
    }

    private Corrections.Kind kind(DType dtype, Weights weights, double delta) {
        try (MergeMatrices m = matrices(dtype)) {
            SplittableRandom random = new SplittableRandom(3);
            for (int r = 0; r < m.w().rows(); r++) {
                for (int c = 0; c < m.w().cols(); c++) {
                    Elements.set(m.w(), r, c, (float) weights.at(random));
                }
                Elements.set(m.b(), r, 0, 1);
            }
            for (int c = 0; c < m.a().cols(); c++) {
                double factor = delta == 0.5 ? 1 : random.nextGaussian();
                Elements.set(m.a(), 0, c, (float) (delta * factor));
            }
            m.upload();
            roundTrip(m, dtype + ", " + delta);
            try (Corrections corrections = kernel().merge(List.of(m.part())).orElseThrow()) {
                Corrections.Matrix matrix = only(corrections);
                assertTrue(matrix.bytes() <= mostBytes(m.w()), matrix.toString());
                return matrix.kind();
            }
        }
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void refusesWhatIsNotFiniteAndChangesNothing(DType dtype) {
        float[] bad = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY};
        try (MergeMatrices sound = matrices(dtype);
                MergeMatrices m = matrices(dtype)) {
            fill(sound, Values.ORDINARY, 6);
            byte[] soundBefore = sound.bytes();
            for (float value : bad) {
                for (int where = 0; where < 3; where++) {
                    fill(m, Values.ORDINARY, 5);
                    Tensor t = List.of(m.w(), m.a(), m.b()).get(where);
                    put(t, t.rows() - 1, t.cols() - 1, value);
                    m.upload();
                    byte[] before = m.bytes();
                    String what = value + " in " + where;
                    assertTrue(merge(List.of(sound, m)).isEmpty(), what);
                    assertArrayEquals(before, m.bytes(), what);
                    assertArrayEquals(soundBefore, sound.bytes(), what + ", the part before");
                    assertTrue(merge(List.of(m)).isEmpty(), what);
                }
            }
            fill(m, Values.NO_DELTA, 5);
            put(m.w(), 3, 529, 3e38f);
            put(m.a(), 0, 529, 1e19f);
            put(m.b(), 3, 0, 3e19f);
            m.upload();
            byte[] before = m.bytes();
            assertTrue(merge(List.of(m, sound)).isEmpty(), "the sum overflows");
            assertArrayEquals(before, m.bytes());
            assertArrayEquals(soundBefore, sound.bytes(), "the part behind");
        }
    }

    private Optional<Corrections> merge(List<MergeMatrices> matrices) {
        return kernel().merge(matrices.stream().map(MergeMatrices::part).toList());
    }

    private static void put(Tensor to, long row, long col, float value) {
        if (to.dtype() == DType.F32 || Float.isFinite(value)) {
            Elements.set(to, row, col, value);
        } else {
            long at = to.byteOffset(row) + col * to.dtype().bytes();
            short bits = (short) (Float.floatToRawIntBits(value) >>> 16);
            to.segment().set(ValueLayout.JAVA_SHORT_UNALIGNED, at, bits);
        }
    }

    /** Finite in f32, but the nearest bf16 is infinite. */
    @Test
    void refusesASumThatRoundsToInfinity() {
        try (MergeMatrices m = matrices(DType.BF16)) {
            put(m.w(), 0, 0, Float.intBitsToFloat(0x7f7f0000));
            put(m.a(), 0, 0, 0x1p119f);
            put(m.b(), 0, 0, Float.intBitsToFloat(0x3f7f0000));
            m.upload();
            roundTrip(m, "just finite");
            put(m.b(), 0, 0, 1f);
            m.upload();
            assertTrue(merge(List.of(m)).isEmpty());
        }
    }

    /** One call for many matrices is many calls for one. */
    @Test
    void partsAreMergedAndRestoredEachByItself() {
        try (MergeMatrices first = matrices(DType.BF16);
                MergeMatrices second = new MergeMatrices(memory(), DType.BF16, PADS[1]);
                MergeMatrices third = matrices(DType.F32)) {
            List<MergeMatrices> all = List.of(first, second, third);
            fill(first, Values.ORDINARY, 1);
            fill(second, Values.DELTA_LIKE_WEIGHT, 2);
            fill(third, Values.NO_DELTA, 3);
            List<byte[]> before = all.stream().map(MergeMatrices::bytes).toList();
            List<byte[]> alone = all.stream().map(m -> roundTrip(m, "alone")).toList();
            try (Corrections corrections = merge(all).orElseThrow()) {
                for (int i = 0; i < all.size(); i++) {
                    assertArrayEquals(alone.get(i), all.get(i).bytes(), "part " + i);
                }
                List<Long> corrected =
                        corrections.matrices().stream().map(Corrections.Matrix::corrected).toList();
                assertTrue(corrected.get(2) < corrected.get(0), corrected + " without a delta");
                assertTrue(corrected.get(0) < corrected.get(1), corrected + " for larger deltas");
                kernel().unmerge(all.stream().map(MergeMatrices::part).toList(), corrections);
            }
            for (int i = 0; i < all.size(); i++) {
                assertArrayEquals(before.get(i), all.get(i).bytes(), "part " + i);
            }
        }
    }

    private long print(MergeMatrices m) {
        return kernel().fingerprints(List.of(m.part().w()))[0];
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void fingerprintSeesEveryBitAndNoStride(DType dtype) {
        try (Backend host = new ReferenceBackend();
                MergeMatrices expected = new MergeMatrices(host, dtype, PADS[0]);
                MergeMatrices m = matrices(dtype)) {
            fill(expected, Values.ORDINARY, 11);
            fill(m, Values.ORDINARY, 11);
            long print = print(m);
            assertEquals(REFERENCE.fingerprints(List.of(expected.part().w()))[0], print);
            long rowBytes = m.w().cols() * dtype.bytes();
            SplittableRandom random = new SplittableRandom(2);
            for (int i = 0; i < 40; i++) {
                long row = i < 2 ? m.w().rows() - 1 : random.nextLong(m.w().rows());
                long at = i < 2 ? rowBytes - 1 : random.nextLong(rowBytes);
                int bit = 1 << random.nextInt(8);
                m.flip(row, at, bit);
                m.upload();
                assertNotEquals(print, print(m), "byte " + at + " of row " + row);
                m.flip(row, at, bit);
            }
            Elements.set(m.b(), 0, 0, 77);
            m.upload();
            assertEquals(print, print(m), "the border is not the weight");
        }
    }

    /** Rows that change places, or two equal changes, must not cancel out. */
    @Test
    void fingerprintSeesExchangedRows() {
        try (MergeMatrices m = matrices(DType.BF16)) {
            fill(m, Values.ORDINARY, 12);
            long print = print(m);
            for (int c = 0; c < m.w().cols(); c++) {
                double first = Elements.get(m.w(), 0, c);
                Elements.set(m.w(), 0, c, Elements.get(m.w(), 1, c));
                Elements.set(m.w(), 1, c, first);
            }
            m.upload();
            assertNotEquals(print, print(m));
        }
    }
}
