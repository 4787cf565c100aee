package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.SwigluKernel;
import jlora.runtime.tensor.Tensor;

/** {@link SwigluKernel} by swiglu.cu. */
final class CudaSwiglu implements SwigluKernel {
    private final CudaKernels kernels;

    CudaSwiglu(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void forward(Tensor out, Tensor gateUp) {
        PackedRows rows = PackedRows.of(out.rows(), out.cols(), out, gateUp);
        rows.launch(
                kernels,
                kernels.call("swiglu_forward" + rows.suffix())
                        .rows(out)
                        .rows(gateUp)
                        .i64(out.rows())
                        .i64(out.cols()));
    }

    @Override
    public void backward(Tensor dGateUp, Tensor dOut, Tensor gateUp) {
        PackedRows rows = PackedRows.of(dOut.rows(), dOut.cols(), dGateUp, dOut, gateUp);
        rows.launch(
                kernels,
                kernels.call("swiglu_backward" + rows.suffix())
                        .rows(dGateUp)
                        .rows(dOut)
                        .rows(gateUp)
                        .i64(dOut.rows())
                        .i64(dOut.cols()));
    }
}
