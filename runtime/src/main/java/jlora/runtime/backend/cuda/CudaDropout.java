package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.DropoutKernel;
import jlora.runtime.kernel.Philox;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

/** {@link DropoutKernel} by dropout.cu. */
final class CudaDropout implements DropoutKernel {
    private final CudaKernels kernels;

    CudaDropout(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(Tensor out, Tensor x, float p, Tensor rng, int stream) {
        apply(Grad.overwrite(out), x, p, rng, stream);
    }

    @Override
    public void backward(Grad dx, Tensor dOut, float p, Tensor rng, int stream) {
        apply(dx, dOut, p, rng, stream);
    }

    private void apply(Grad target, Tensor from, float p, Tensor rng, int stream) {
        Tensor to = target.tensor();
        PackedRows rows = PackedRows.of(from.rows(), from.cols(), to, from);
        rows.launch(
                kernels,
                kernels.call("dropout_apply" + rows.suffix())
                        .rows(to)
                        .rows(from)
                        .tensor(rng)
                        .i32(stream)
                        .i64(Philox.dropThreshold(p))
                        .f32(1f / (1f - p))
                        .flag(target.accumulate())
                        .i64(from.rows())
                        .i64(from.cols()));
    }
}
