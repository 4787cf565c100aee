package jlora.runtime.kernel;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.Objects;
import java.util.Optional;

/**
 * A matrix in four bits an element (QLoRA, arXiv 2305.14314), as bitsandbytes lays it out: elements
 * in the order of rows, {@link #BLOCK} of them to a scale, whatever the length of a row; two codes
 * to a byte, the earlier one in the upper four bits. An element is table[code] · scale of its
 * block. With {@link Nested} scales, those are stored in eight bits themselves.
 *
 * @param rows of the matrix
 * @param cols of the matrix
 * @param type of the codes
 * @param codes u8 [1, ⌈n/2⌉], n = rows · cols
 * @param scales the largest magnitude of each block: f32 [1, ⌈n/64⌉], or u8 of the same shape when
 *     nested
 * @param nested by what u8 scales are read
 */
public record FourBitMatrix(
        long rows, long cols, Type type, Tensor codes, Tensor scales, Optional<Nested> nested) {
    /** What the sixteen codes mean; the names are those of {@code bnb_4bit_quant_type}. */
    public enum Type {
        /** Quantiles of a normal distribution. */
        NF4,
        /** Sign, two bits of exponent, one of mantissa. */
        FP4
    }

    /**
     * Scales in eight bits: scale = map[code] · (scale of its 256) + offset, map being the signed
     * dynamic map of arXiv 2110.02861.
     *
     * @param scales f32 [1, ⌈blocks/256⌉]
     * @param offset f32 [1,1]: the mean of all scales
     */
    public record Nested(Tensor scales, Tensor offset) {}

    /** Elements that share a scale. */
    public static final int BLOCK = 64;

    /** Scales that share a scale. */
    public static final int SCALE_BLOCK = 256;

    public FourBitMatrix {
        Objects.requireNonNull(type);
        long blocks = blocks(rows * cols);
        require(codes, DType.U8, Math.ceilDiv(rows * cols, 2L));
        require(scales, nested.isPresent() ? DType.U8 : DType.F32, blocks);
        if (nested.isPresent()) {
            require(nested.get().scales(), DType.F32, Math.ceilDiv(blocks, (long) SCALE_BLOCK));
            require(nested.get().offset(), DType.F32, 1);
        }
    }

    private static void require(Tensor tensor, DType dtype, long cols) {
        if (tensor.dtype() != dtype || tensor.rows() != 1 || tensor.cols() != cols) {
            throw new IllegalArgumentException(
                    tensor.describe() + " should be [1, " + cols + "] " + dtype.torchName());
        }
    }

    /** Bytes from its codes to the end of its last tensor, which all lie in one storage. */
    public long bytes() {
        Tensor last = nested.map(Nested::offset).orElse(scales);
        return last.byteOffset(0) + last.cols() * last.dtype().bytes() - codes.byteOffset(0);
    }

    /** The same matrix in another storage of {@link #bytes}, its codes first. */
    public FourBitMatrix in(Storage other) {
        return new FourBitMatrix(
                rows,
                cols,
                type,
                in(other, codes),
                in(other, scales),
                nested.map(n -> new Nested(in(other, n.scales), in(other, n.offset))));
    }

    private Tensor in(Storage other, Tensor tensor) {
        long from = (tensor.byteOffset(0) - codes.byteOffset(0)) / tensor.dtype().bytes();
        return new Tensor(
                tensor.name(), other, tensor.dtype(), 1, tensor.cols(), from, tensor.cols());
    }

    /** Blocks of so many elements. */
    public static long blocks(long elements) {
        return Math.ceilDiv(elements, (long) BLOCK);
    }

    /** Blocks of this matrix. */
    public long blocks() {
        return blocks(rows * cols);
    }
}
