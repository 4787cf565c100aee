package jlora.runtime.backend.cpu;

import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.FourBitTables;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * The blocks of one matrix in four bits, made whole by one thread. A block has sixteen values: they
 * are multiplied by the scale and rounded once, as a table, and elements only look them up.
 */
final class FourBitBlocks {
    /** Bytes of a block's codes. */
    static final int CODE_BYTES = FourBitMatrix.BLOCK / 2;

    /** Vectors that hold all sixteen results of a block. */
    private static final VectorShape SHAPE = VectorShape.S_512_BIT;

    /** Whether the processor has them. */
    static final boolean VECTORS = VectorMath.FLOATS.vectorBitSize() >= SHAPE.vectorBitSize();

    private static final VectorSpecies<Byte> BYTES = ByteVector.SPECIES_64;
    private static final VectorSpecies<Float> FLOATS = VectorSpecies.of(float.class, SHAPE);
    private static final VectorSpecies<Integer> INTS = VectorSpecies.of(int.class, SHAPE);
    private static final VectorSpecies<Long> LONGS = VectorSpecies.of(long.class, SHAPE);
    private static final VectorSpecies<Short> SHORTS =
            VectorSpecies.of(short.class, VectorShape.S_256_BIT);
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    /** Blocks whose scales are read at once. */
    private static final int RUN = 128;

    private final FourBitMatrix matrix;
    private final boolean bf16;
    private final boolean vectors;
    private final float[] values;
    private final float[] scaleValues = FourBitTables.scaleValues();
    private final float[] scales = new float[RUN];
    private final byte[] scaleCodes = new byte[RUN];
    private final int[] results = new int[FourBitTables.CODES];
    private final MemorySegment codes;
    private final long codesAt;

    /**
     * @param to the type of the results
     * @param vectors whether elements are looked up by vectors
     */
    FourBitBlocks(FourBitMatrix matrix, DType to, boolean vectors) {
        this.matrix = matrix;
        this.vectors = vectors;
        this.bf16 =
                switch (to) {
                    case F32 -> false;
                    case BF16 -> true;
                    case I32, U8, F8_E4M3 ->
                            throw new IllegalArgumentException("no weights in " + to.torchName());
                };
        this.values = FourBitTables.values(matrix.type());
        this.codes = matrix.codes().segment();
        this.codesAt = matrix.codes().byteOffset(0);
    }

    /** Writes whole blocks from byte {@code at} of a segment on. */
    void expand(long block, long count, MemorySegment to, long at) {
        long bytes = (long) FourBitMatrix.BLOCK * (bf16 ? 2 : 4);
        for (long done = 0; done < count; done += RUN) {
            int run = (int) Math.min(RUN, count - done);
            readScales(block + done, run);
            long from = codesAt + (block + done) * CODE_BYTES;
            expand(codes, from, run, to, at + done * bytes);
        }
    }

    /**
     * Writes a block that the matrix may end within; elements behind the end are without meaning.
     *
     * @param bytes space for the codes of a block
     */
    void expandPart(long block, MemorySegment to, MemorySegment bytes) {
        long there = Math.min(CODE_BYTES, matrix.codes().cols() - block * CODE_BYTES);
        MemorySegment.copy(codes, codesAt + block * CODE_BYTES, bytes, 0, there);
        readScales(block, 1);
        expand(bytes, 0, 1, to, 0);
    }

    private void readScales(long block, int count) {
        Tensor from = matrix.scales();
        long at = from.byteOffset(0) + block * from.dtype().bytes();
        if (matrix.nested().isEmpty()) {
            MemorySegment.copy(
                    from.segment(), ValueLayout.JAVA_FLOAT_UNALIGNED, at, scales, 0, count);
            return;
        }
        FourBitMatrix.Nested nested = matrix.nested().get();
        MemorySegment.copy(from.segment(), ValueLayout.JAVA_BYTE, at, scaleCodes, 0, count);
        float offset = Rows.f32(nested.offset(), 0, 0);
        for (int i = 0; i < count; ) {
            long group = (block + i) / FourBitMatrix.SCALE_BLOCK;
            long end = (group + 1) * FourBitMatrix.SCALE_BLOCK - block;
            float scale = Rows.f32(nested.scales(), 0, group);
            for (; i < Math.min(end, count); i++) {
                scales[i] = scaleValues[Byte.toUnsignedInt(scaleCodes[i])] * scale + offset;
            }
        }
    }

    private void expand(MemorySegment from, long fromAt, int count, MemorySegment to, long at) {
        if (vectors) {
            expandByVectors(from, fromAt, count, to, at);
        } else {
            expandByElements(from, fromAt, count, to, at);
        }
    }

    private void expandByVectors(
            MemorySegment from, long fromAt, int count, MemorySegment to, long at) {
        FloatVector all = FloatVector.fromArray(FLOATS, values, 0);
        for (int i = 0; i < count; i++) {
            IntVector results = results(all.mul(scales[i]));
            for (int j = 0; j < CODE_BYTES; j += 8) {
                long codeAt = (long) i * CODE_BYTES + j;
                ByteVector bytes =
                        ByteVector.fromMemorySegment(BYTES, from, fromAt + codeAt, ORDER);
                IntVector found = codes(bytes).selectFrom(results);
                store(found, to, at, 2 * codeAt);
            }
        }
    }

    /** For shorter vectors: on AVX2, two look-ups and a blend took twice the time of this. */
    private void expandByElements(
            MemorySegment from, long fromAt, int count, MemorySegment to, long at) {
        for (int i = 0; i < count; i++) {
            for (int code = 0; code < results.length; code++) {
                float value = values[code] * scales[i];
                results[code] = bf16 ? Rows.roundToBf16(value) : Float.floatToRawIntBits(value);
            }
            for (int j = 0; j < CODE_BYTES; j++) {
                long codeAt = (long) i * CODE_BYTES + j;
                int codes = Byte.toUnsignedInt(from.get(ValueLayout.JAVA_BYTE, fromAt + codeAt));
                store(results[codes >> 4], to, at, 2 * codeAt);
                store(results[codes & 15], to, at, 2 * codeAt + 1);
            }
        }
    }

    private void store(int bits, MemorySegment to, long at, long element) {
        if (bf16) {
            to.set(ValueLayout.JAVA_SHORT_UNALIGNED, at + 2 * element, (short) bits);
        } else {
            to.set(ValueLayout.JAVA_INT_UNALIGNED, at + 4 * element, bits);
        }
    }

    private void store(IntVector bits, MemorySegment to, long at, long element) {
        if (bf16) {
            bits.convertShape(VectorOperators.I2S, SHORTS, 0)
                    .reinterpretAsShorts()
                    .intoMemorySegment(to, at + 2 * element, ORDER);
        } else {
            bits.intoMemorySegment(to, at + 4 * element, ORDER);
        }
    }

    /** What is stored of each: its bits, or those of the nearest bf16, ties to even. */
    private IntVector results(FloatVector value) {
        IntVector bits = value.reinterpretAsInts();
        if (!bf16) {
            return bits;
        }
        IntVector high = bits.lanewise(VectorOperators.LSHR, 16);
        IntVector rounded = bits.add(high.and(1)).add(0x7FFF).lanewise(VectorOperators.LSHR, 16);
        VectorMask<Integer> nan = value.test(VectorOperators.IS_NAN).cast(INTS);
        return rounded.blend(high.or(0x40), nan);
    }

    /** A byte becomes two ints, the earlier element's code in the first. */
    private static IntVector codes(ByteVector bytes) {
        LongVector pairs =
                (LongVector) bytes.convertShape(VectorOperators.ZERO_EXTEND_B2L, LONGS, 0);
        return pairs.lanewise(VectorOperators.LSHR, 4)
                .or(pairs.lanewise(VectorOperators.LSHL, 32))
                .reinterpretAsInts()
                .and(15);
    }
}
