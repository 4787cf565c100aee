package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.kernel.GradNormKernel;
import jlora.runtime.tensor.Tensor;

/** {@link GradNormKernel} by grad_norm.cu, in two passes. */
final class CudaGradNorm implements GradNormKernel {
    private static final int FINISH_THREADS = 256;

    private final CudaKernels kernels;

    CudaGradNorm(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(Tensor norm, Tensor updates, Tensor gradient, float maxNorm) {
        FlatSpan span = FlatSpan.of(gradient);
        LaunchShape shape = span.shape(kernels);
        long partial = kernels.scratch((long) shape.gridX() * Double.BYTES);
        kernels.call("grad_norm_square").pointer(partial).tensor(gradient).span(span).launch(shape);
        kernels.call("grad_norm_finish")
                .tensor(norm)
                .tensor(updates)
                .pointer(partial)
                .i32(shape.gridX())
                .f32(maxNorm)
                .launch(LaunchShape.of(1, FINISH_THREADS));
    }
}
