package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.kernel.PublishKernel;
import jlora.runtime.tensor.Tensor;

import java.util.List;

/** {@link AdamWKernel} by adamw.cu, in one launch. */
final class CudaAdamW implements AdamWKernel {
    private final CudaKernels kernels;

    CudaAdamW(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void update(
            Tensor master,
            Tensor gradient,
            Tensor m,
            Tensor v,
            Tensor learningRate,
            Tensor norm,
            Tensor updates,
            Settings settings,
            List<PublishKernel.Copy> copies) {
        FlatSpan span = FlatSpan.of(master, gradient, m, v);
        long table = kernels.tables().address(CopyTable.within(master, copies));
        kernels.call("adamw_update")
                .tensor(master)
                .tensor(gradient)
                .tensor(m)
                .tensor(v)
                .tensor(learningRate)
                .tensor(norm)
                .tensor(updates)
                .f64(Math.log(settings.beta1()))
                .f64(Math.log(settings.beta2()))
                .f32((float) (1 - settings.beta1()))
                .f32((float) settings.beta2())
                .f32((float) (1 - settings.beta2()))
                .f32((float) settings.eps())
                .f64(settings.weightDecay())
                .i64(settings.decayed())
                .pointer(table)
                .i32(copies.size())
                .span(span)
                .launch(span.shape(kernels));
    }
}
