package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.kernel.FourBitKernel;
import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.tensor.Tensor;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/** {@link FourBitKernel} by four_bit.cu: one launch makes all matrices whole. */
final class CudaFourBit implements FourBitKernel {
    private static final int THREADS = 256;

    /** Elements of a thread, {@code four_bit::PER_THREAD}. */
    private static final int PER_THREAD = 8;

    /** Scales that a block sums, {@code four_bit::SUMMED}. */
    private static final int SUMMED = 1 << 12;

    /** Rows that a thread takes at once, {@code four_bit::ROWS}. */
    private static final int ROWS = 4;

    /** {@code four_bit::Part}. */
    private static final int PART_BYTES = 7 * Long.BYTES;

    private final CudaKernels kernels;

    CudaFourBit(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void quantize(FourBitMatrix to, Tensor absmax, long firstBlock, Tensor from) {
        long elements = from.elements();
        if (elements == 0) {
            return;
        }
        long codes = to.codes().address() + firstBlock * (FourBitMatrix.BLOCK / 2);
        boolean vectors = from.address() % 16 == 0 && codes % 4 == 0;
        String suffix = CudaKernels.suffix(from.dtype()) + (vectors ? "" : "_scalar");
        long threads = Math.ceilDiv(elements, (long) PER_THREAD);
        kernels.call("four_bit_quantize" + suffix)
                .pointer(codes)
                .pointer(absmax.address() + firstBlock * Float.BYTES)
                .tensor(from)
                .i64(elements)
                .flag(isFp4(to))
                .launch(LaunchShape.of(Math.ceilDiv(threads, (long) THREADS), THREADS));
    }

    private static boolean isFp4(FourBitMatrix matrix) {
        return matrix.type() == FourBitMatrix.Type.FP4;
    }

    @Override
    public void quantizeScales(FourBitMatrix to, Tensor absmax) {
        FourBitMatrix.Nested nested = to.nested().orElseThrow();
        long blocks = to.blocks();
        if (blocks == 0) {
            return;
        }
        long sums = Math.ceilDiv(blocks, (long) SUMMED);
        long partial = kernels.scratch(sums * Double.BYTES);
        kernels.call("four_bit_sum_scales")
                .pointer(partial)
                .tensor(absmax)
                .i64(blocks)
                .launch(LaunchShape.of(sums, THREADS));
        kernels.call("four_bit_mean_of_scales")
                .tensor(nested.offset())
                .pointer(partial)
                .i32(sums)
                .i64(blocks)
                .launch(LaunchShape.of(1, THREADS));
        kernels.call("four_bit_quantize_scales")
                .tensor(to.scales())
                .tensor(nested.scales())
                .tensor(absmax)
                .tensor(nested.offset())
                .i64(blocks)
                .launch(LaunchShape.of(nested.scales().cols(), FourBitMatrix.SCALE_BLOCK));
    }

    @Override
    public void dequantize(Tensor to, List<FourBitMatrix> from) {
        FourBitKernel.requireFit(to, from);
        long strips = Math.ceilDiv(to.rows(), (long) ROWS);
        PackedRows rows = PackedRows.of(strips, to.cols(), codesAligned(to, from), to);
        rows.launch(
                kernels,
                kernels.call("four_bit_dequantize" + rows.suffix())
                        .rows(to)
                        .pointer(kernels.tables().address(table(from)))
                        .i64(to.rows())
                        .i64(to.cols()));
    }

    /** Whether the codes of 16 bytes of results can be read at once, and those can be written. */
    private static boolean codesAligned(Tensor to, List<FourBitMatrix> from) {
        int codeBytes = 16 / to.dtype().bytes() / 2;
        return CudaKernels.aligned(to)
                && from.stream().allMatch(m -> m.codes().address() % codeBytes == 0);
    }

    private static byte[] table(List<FourBitMatrix> from) {
        ByteBuffer table =
                ByteBuffer.allocate(from.size() * PART_BYTES).order(ByteOrder.nativeOrder());
        long row = 0;
        for (FourBitMatrix matrix : from) {
            table.putLong(matrix.codes().address());
            table.putLong(matrix.scales().address());
            table.putLong(matrix.nested().map(n -> n.scales().address()).orElse(0L));
            table.putLong(matrix.nested().map(n -> n.offset().address()).orElse(0L));
            table.putLong(row);
            row += matrix.rows();
            table.putLong(row);
            table.putLong(isFp4(matrix) ? 1 : 0);
        }
        return table.array();
    }
}
