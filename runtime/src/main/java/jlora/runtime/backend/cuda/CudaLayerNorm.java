package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.LayerNormKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.List;
import java.util.Optional;

/** {@link LayerNormKernel} by layer_norm.cu. */
final class CudaLayerNorm implements LayerNormKernel {
    private final CudaKernels kernels;

    CudaLayerNorm(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(
            Tensor out,
            Tensor stats,
            Optional<Tensor> sum,
            Tensor x,
            Optional<Tensor> residual,
            Tensor weight,
            Tensor bias,
            float eps) {
        if (x.rows() == 0) {
            return;
        }
        NormRows rows =
                NormRows.of(
                        "layer_norm",
                        false,
                        x,
                        List.of(
                                Optional.of(out),
                                Optional.of(weight),
                                Optional.of(bias),
                                sum,
                                residual));
        kernels.call("layer_norm_forward" + rows.suffix())
                .rows(out)
                .rows(stats)
                .rows(sum)
                .rows(x)
                .rows(residual)
                .tensor(weight)
                .tensor(bias)
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
            Optional<Grad> dBias,
            Tensor dOut,
            Optional<Tensor> dSum,
            Tensor sum,
            Tensor weight,
            Tensor stats) {
        NormRows rows =
                NormRows.of(
                        "layer_norm",
                        dWeight.isPresent() || dBias.isPresent(),
                        sum,
                        List.of(Optional.of(dx), Optional.of(dOut), Optional.of(weight), dSum));
        new NormGradients(kernels, "layer_norm", rows, List.of(dWeight, dBias))
                .run(dx, call -> call.rows(dOut).rows(dSum).rows(sum).tensor(weight).rows(stats));
    }
}
