package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.kernel.Philox;
import jlora.runtime.kernel.RandomFillKernel;
import jlora.runtime.tensor.Tensor;

/** {@link RandomFillKernel} by random_fill.cu. */
final class CudaRandomFill implements RandomFillKernel {
    private static final int THREADS = 256;
    private static final int BLOCKS_PER_MULTIPROCESSOR = 32;

    private final CudaKernels kernels;

    CudaRandomFill(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void normal(Tensor to, long first, long seed, int stream, double standardDeviation) {
        if (to.elements() == 0) {
            return;
        }
        // A part of a tensor may start inside a counter's four numbers.
        long skipped = first % Philox.WORDS;
        long counters = Math.ceilDiv(skipped + to.elements(), (long) Philox.WORDS);
        long most = (long) kernels.device().multiprocessors() * BLOCKS_PER_MULTIPROCESSOR;
        kernels.call("random_fill_normal", to.dtype())
                .rows(to)
                .i64(to.rows())
                .i64(to.cols())
                .i64(first)
                .i32((int) seed)
                .i32((int) (seed >>> 32))
                .i32(stream)
                .f64(standardDeviation)
                .launch(
                        LaunchShape.of(
                                Math.min(Math.ceilDiv(counters, (long) THREADS), most), THREADS));
    }

    @Override
    public void constant(Tensor to, float value) {
        PackedRows rows = PackedRows.of(to.rows(), to.cols(), to);
        rows.launch(
                kernels,
                kernels.call("random_fill_constant" + rows.suffix())
                        .rows(to)
                        .f32(value)
                        .i64(to.rows())
                        .i64(to.cols()));
    }
}
