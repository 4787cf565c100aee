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

    /** The longest vector that eight bytes of codes fill. */
    private static final VectorShape SHAPE =
            VectorShape.forBitSize(Math.min(512, VectorMath.FLOATS.vectorBitSize()));

    private static final VectorSpecies<Float> FLOATS = VectorSpecies.of(float.class, SHAPE);
    private static final VectorSpecies<Integer> INTS = VectorSpecies.of(int.class, SHAPE);
    private static final VectorSpecies<Long> LONGS = VectorSpecies.of(long.class, SHAPE);
    private static final VectorSpecies<Short> SHORTS =
            VectorSpecies.of(short.class, VectorShape.forBitSize(SHAPE.vectorBitSize() / 2));
    private static final int LANES = INTS.length();
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    private final FourBitMatrix matrix;
    private final boolean bf16;
    private final float[] values;
    private final float[] scaleValues;
    private final int[] table = new int[FourBitTables.CODES];
    private final MemorySegment codes;
    private final long codesAt;

    /**
     * @param to the type of the results
     */
    FourBitBlocks(FourBitMatrix matrix, DType to) {
        this.matrix = matrix;
        this.bf16 =
                switch (to) {
                    case F32 -> false;
                    case BF16 -> true;
                    case I32, U8, F8_E4M3 ->
                            throw new IllegalArgumentException("no weights in " + to.torchName());
                };
        this.values = FourBitTables.values(matrix.type());
        this.scaleValues = FourBitTables.scaleValues();
        this.codes = matrix.codes().segment();
        this.codesAt = matrix.codes().byteOffset(0);
    }

    /** Writes a whole block from byte {@code at} of a segment on. */
    void expand(long block, MemorySegment to, long at) {
        tabulate(scale(block));
        expand(codes, codesAt + block * CODE_BYTES, to, at);
    }

    /**
     * Writes a block that the matrix may end within; elements behind the end are without meaning.
     *
     * @param bytes space for the codes of a block
     */
    void expandPart(long block, MemorySegment to, MemorySegment bytes) {
        long there = Math.min(CODE_BYTES, matrix.codes().cols() - block * CODE_BYTES);
        MemorySegment.copy(codes, codesAt + block * CODE_BYTES, bytes, 0, there);
        tabulate(scale(block));
        expand(bytes, 0, to, 0);
    }

    private float scale(long block) {
        if (matrix.nested().isEmpty()) {
            return Rows.f32(matrix.scales(), 0, block);
        }
        FourBitMatrix.Nested nested = matrix.nested().get();
        Tensor scales = matrix.scales();
        byte code = scales.segment().get(ValueLayout.JAVA_BYTE, scales.byteOffset(0) + block);
        float remainder =
                scaleValues[Byte.toUnsignedInt(code)]
                        * Rows.f32(nested.scales(), 0, block / FourBitMatrix.SCALE_BLOCK);
        return remainder + Rows.f32(nested.offset(), 0, 0);
    }

    /** The sixteen results of a block, by their bits. */
    private void tabulate(float scale) {
        for (int i = 0; i < table.length; i += LANES) {
            FloatVector value = FloatVector.fromArray(FLOATS, values, i).mul(scale);
            IntVector bits = value.reinterpretAsInts();
            if (bf16) {
                IntVector high = bits.lanewise(VectorOperators.LSHR, 16);
                IntVector rounded =
                        bits.add(high.and(1)).add(0x7FFF).lanewise(VectorOperators.LSHR, 16);
                VectorMask<Integer> nan = value.test(VectorOperators.IS_NAN).cast(INTS);
                bits = rounded.blend(high.or(0x40), nan);
            }
            bits.intoArray(table, i);
        }
    }

    private void expand(MemorySegment from, long fromAt, MemorySegment to, long at) {
        int width = bf16 ? 2 : 4;
        for (int i = 0; i < CODE_BYTES; i += 8) {
            ByteVector bytes =
                    ByteVector.fromMemorySegment(ByteVector.SPECIES_64, from, fromAt + i, ORDER);
            for (int part = 0; part < 16 / LANES; part++) {
                // A byte becomes two ints, the earlier element's code in the first.
                LongVector pairs =
                        (LongVector)
                                bytes.convertShape(VectorOperators.ZERO_EXTEND_B2L, LONGS, part);
                IntVector found =
                        lookUp(
                                pairs.lanewise(VectorOperators.LSHR, 4)
                                        .or(pairs.lanewise(VectorOperators.LSHL, 32))
                                        .reinterpretAsInts()
                                        .and(15));
                long target = at + (2L * i + part * LANES) * width;
                if (bf16) {
                    found.convertShape(VectorOperators.I2S, SHORTS, 0)
                            .reinterpretAsShorts()
                            .intoMemorySegment(to, target, ORDER);
                } else {
                    found.intoMemorySegment(to, target, ORDER);
                }
            }
        }
    }

    /** The table's entries of these codes. */
    private IntVector lookUp(IntVector codes) {
        IntVector found = codes.selectFrom(IntVector.fromArray(INTS, table, 0));
        for (int i = LANES; i < table.length; i += LANES) {
            IntVector others = codes.selectFrom(IntVector.fromArray(INTS, table, i));
            found = found.blend(others, codes.compare(VectorOperators.GE, i));
        }
        return found;
    }
}
