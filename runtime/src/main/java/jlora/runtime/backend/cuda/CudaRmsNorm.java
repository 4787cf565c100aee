package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.RmsNormKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.List;
import java.util.Optional;

/** {@link RmsNormKernel} by rms_norm.cu. */
final class CudaRmsNorm implements RmsNormKernel {
    private final CudaKernels kernels;

    CudaRmsNorm(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(
            Tensor out,
            Tensor rstd,
            Optional<Tensor> sum,
            Tensor x,
            Optional<Tensor> residual,
            Tensor weight,
            float eps) {
        if (x.rows() == 0) {
            return;
        }
        NormRows rows =
                NormRows.of(
                        "rms_norm",
                        false,
                        x,
                        List.of(Optional.of(out), Optional.of(weight), sum, residual));
        kernels.call("rms_norm_forward" + rows.suffix())
                .rows(out)
                .rows(rstd)
                .rows(sum)
                .rows(x)
                .rows(residual)
                .tensor(weight)
                .f32(eps)
                .i64(x.rows())
                .i32(x.cols())
                .i32(rows.team())
                .launch(rows.perRow(x.rows()));
    }

    @Override
    public void backward(
            Tensor dx,
            Optional<Grad> dWeight,
            Tensor dOut,
            Optional<Tensor> dSum,
            Tensor sum,
            Tensor weight,
            Tensor rstd) {
        NormRows rows =
                NormRows.of(
                        "rms_norm",
                        dWeight.isPresent(),
                        sum,
                        List.of(Optional.of(dx), Optional.of(dOut), Optional.of(weight), dSum));
        new NormGradients(kernels, "rms_norm", rows, List.of(dWeight))
                .run(dx, call -> call.rows(dOut).rows(dSum).rows(sum).tensor(weight).rows(rstd));
    }
}
