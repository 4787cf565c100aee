package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

import jlora.runtime.kernel.FourBitKernel;
import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.FourBitTables;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** {@link FourBitKernel} by blocks of 64 elements: the same bits as the definition. */
final class CpuFourBit implements FourBitKernel {
    private static final int BLOCK = FourBitMatrix.BLOCK;
    private static final VectorSpecies<Float> FLOATS = VectorMath.FLOATS;
    private static final VectorSpecies<Integer> INTS = VectorMath.INTS;
    private static final int LANES = VectorMath.LANES;

    private final CpuPool pool;
    private final boolean vectors;

    CpuFourBit(CpuPool pool) {
        this(pool, FourBitBlocks.VECTORS);
    }

    /**
     * @param vectors whether dequantising looks elements up by vectors of 512 bits
     */
    CpuFourBit(CpuPool pool, boolean vectors) {
        this.pool = pool;
        this.vectors = vectors;
    }

    @Override
    public void quantize(FourBitMatrix to, Tensor absmax, long firstBlock, Tensor from) {
        pool.run(
                FourBitMatrix.blocks(from.elements()),
                Rows.grain(BLOCK),
                (part, begin, end) -> {
                    Quantizer quantizer = new Quantizer(to);
                    for (long block = begin; block < end; block++) {
                        float scale = quantizer.quantize(from, block, firstBlock + block);
                        Rows.setF32(absmax, 0, firstBlock + block, scale);
                    }
                });
    }

    /** One thread's arrays for a block. */
    private static final class Quantizer {
        private final FourBitMatrix to;
        private final boolean signs;
        private final float[] thresholds;
        private final int[] codeOfRank;
        private final float[] values = new float[BLOCK];
        private final int[] ranks = new int[BLOCK];

        Quantizer(FourBitMatrix to) {
            this.to = to;
            this.signs = to.type() == FourBitMatrix.Type.FP4;
            this.thresholds = FourBitTables.thresholds(to.type());
            this.codeOfRank = new int[thresholds.length + 1];
            for (int rank = 0; rank < codeOfRank.length; rank++) {
                codeOfRank[rank] = FourBitTables.codeOfRank(to.type(), rank);
            }
        }

        /** Writes the codes of a block of {@code from}, and returns its scale. */
        float quantize(Tensor from, long block, long blockOfMatrix) {
            int width = from.dtype().bytes();
            long first = block * BLOCK;
            int count = (int) Math.min(BLOCK, from.elements() - first);
            long at = from.byteOffset(0) + first * width;
            Rows.load(values, 0, from.segment(), from.dtype(), at, count);
            for (int i = count; i < BLOCK; i++) {
                values[i] = 0f;
            }
            float scale = largest(values);
            multiply(values, FourBitTables.inverse(scale));
            rank();
            MemorySegment codes = to.codes().segment();
            long codesAt = to.codes().byteOffset(0) + blockOfMatrix * (BLOCK / 2);
            for (int i = 0; i < count; i += 2) {
                int pair = code(i) << 4 | code(i + 1);
                codes.set(ValueLayout.JAVA_BYTE, codesAt + i / 2, (byte) pair);
            }
            return scale;
        }

        private int code(int i) {
            int code = codeOfRank[ranks[i]];
            return signs && values[i] < 0f ? code | FourBitTables.FP4_SIGN : code;
        }

        private void rank() {
            for (int i = 0; i < BLOCK; i += LANES) {
                FloatVector x = FloatVector.fromArray(FLOATS, values, i);
                x = signs ? x.abs() : x;
                IntVector rank = IntVector.zero(INTS);
                for (float threshold : thresholds) {
                    rank = rank.add(1, x.compare(VectorOperators.GT, threshold).cast(INTS));
                }
                rank.intoArray(ranks, i);
            }
        }
    }

    /** The largest magnitude; as integers, so that NaN is above all numbers. */
    private static float largest(float[] values) {
        IntVector most = IntVector.zero(INTS);
        for (int i = 0; i < values.length; i += LANES) {
            most =
                    most.max(
                            FloatVector.fromArray(FLOATS, values, i)
                                    .reinterpretAsInts()
                                    .and(Integer.MAX_VALUE));
        }
        return Float.intBitsToFloat(most.reduceLanes(VectorOperators.MAX));
    }

    private static void multiply(float[] values, float factor) {
        for (int i = 0; i < values.length; i += LANES) {
            FloatVector.fromArray(FLOATS, values, i).mul(factor).intoArray(values, i);
        }
    }

    @Override
    public void quantizeScales(FourBitMatrix to, Tensor absmax) {
        FourBitMatrix.Nested nested = to.nested().orElseThrow();
        long blocks = to.blocks();
        float offset = mean(absmax, blocks);
        Rows.setF32(nested.offset(), 0, 0, offset);
        pool.run(
                nested.scales().cols(),
                Rows.grain(FourBitMatrix.SCALE_BLOCK),
                (part, begin, end) -> {
                    float[] values = new float[FourBitMatrix.SCALE_BLOCK];
                    for (long group = begin; group < end; group++) {
                        long first = group * FourBitMatrix.SCALE_BLOCK;
                        int count = (int) Math.min(values.length, blocks - first);
                        for (int i = 0; i < values.length; i++) {
                            values[i] = i < count ? Rows.f32(absmax, 0, first + i) - offset : 0f;
                        }
                        float scale = largest(values);
                        Rows.setF32(nested.scales(), 0, group, scale);
                        multiply(values, FourBitTables.inverse(scale));
                        for (int i = 0; i < count; i++) {
                            int code = FourBitTables.scaleCode(values[i]);
                            to.scales()
                                    .segment()
                                    .set(
                                            ValueLayout.JAVA_BYTE,
                                            to.scales().byteOffset(0) + first + i,
                                            (byte) code);
                        }
                    }
                });
    }

    /** By one thread, in order: at 64 elements to a scale that takes no time beside the rest. */
    private static float mean(Tensor absmax, long blocks) {
        double sum = 0;
        for (long block = 0; block < blocks; block++) {
            sum += Rows.f32(absmax, 0, block);
        }
        return (float) (sum / blocks);
    }

    @Override
    public void dequantize(Tensor to, List<FourBitMatrix> from) {
        FourBitKernel.requireFit(to, from);
        long first = 0;
        for (FourBitMatrix matrix : from) {
            Tensor rows = to.rows(first, matrix.rows());
            pool.run(
                    matrix.rows(),
                    Rows.grain(matrix.cols()),
                    (part, begin, end) -> dequantize(rows, matrix, begin, end));
            first += matrix.rows();
        }
    }

    private void dequantize(Tensor to, FourBitMatrix matrix, long firstRow, long endRow) {
        FourBitBlocks blocks = new FourBitBlocks(matrix, to.dtype(), vectors);
        int width = to.dtype().bytes();
        long cols = matrix.cols();
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment space = arena.allocate((long) BLOCK * width, BLOCK);
            MemorySegment bytes = arena.allocate(FourBitBlocks.CODE_BYTES);
            for (long row = firstRow; row < endRow; row++) {
                long end = (row + 1) * cols;
                long at = to.byteOffset(row);
                long count;
                for (long i = row * cols; i < end; i += count, at += count * width) {
                    long block = i / BLOCK;
                    int skipped = (int) (i % BLOCK);
                    long whole = (end - i) / BLOCK;
                    if (skipped == 0 && whole > 0) {
                        count = whole * BLOCK;
                        blocks.expand(block, whole, to.segment(), at);
                    } else {
                        // Rows begin and end within blocks.
                        count = Math.min(BLOCK - skipped, end - i);
                        blocks.expandPart(block, space, bytes);
                        MemorySegment.copy(
                                space, (long) skipped * width, to.segment(), at, count * width);
                    }
                }
            }
        }
    }
}
