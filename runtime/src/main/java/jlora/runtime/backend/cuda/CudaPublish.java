package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.PublishKernel;

import java.util.List;

final class CudaPublish implements PublishKernel {
    private final CudaKernels kernels;

    CudaPublish(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public void publish(List<Copy> copies) {
        throw new UnsupportedOperationException("Publish.publish on CUDA");
    }
}
