package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.tensor.Tensor;

/** {@link GeluKernel} by gelu.cu. */
final class CudaGelu implements GeluKernel {
    private final CudaKernels kernels;

    CudaGelu(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(Tensor out, Tensor x, Form form) {
        PackedRows rows = PackedRows.of(out.rows(), out.cols(), out, x);
        rows.launch(
                kernels,
                kernels.call("gelu_" + name(form) + "_forward" + rows.suffix())
                        .rows(out)
                        .rows(x)
                        .i64(out.rows())
                        .i64(out.cols()));
    }

    @Override
    public void backward(Tensor dx, Tensor dOut, Tensor x, Form form) {
        PackedRows rows = PackedRows.of(dx.rows(), dx.cols(), dx, dOut, x);
        rows.launch(
                kernels,
                kernels.call("gelu_" + name(form) + "_backward" + rows.suffix())
                        .rows(dx)
                        .rows(dOut)
                        .rows(x)
                        .i64(dx.rows())
                        .i64(dx.cols()));
    }

    private static String name(Form form) {
        return switch (form) {
            case ERF -> "erf";
            case TANH -> "tanh";
        };
    }
}
