package jlora.runtime.backend.cuda;

import jlora.runtime.kernel.Correction;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

final class CudaMerge implements MergeKernel {
    private final CudaKernels kernels;

    CudaMerge(CudaKernels kernels) {
        this.kernels = kernels;
    }

    @Override
    public Optional<Correction> prepare(Tensor w, Tensor a, Tensor b) {
        throw new UnsupportedOperationException("Merge.prepare on CUDA");
    }

    @Override
    public void merge(Tensor w, Tensor a, Tensor b, Correction correction) {
        throw new UnsupportedOperationException("Merge.merge on CUDA");
    }

    @Override
    public void unmerge(Tensor w, Tensor a, Tensor b, Correction correction) {
        throw new UnsupportedOperationException("Merge.unmerge on CUDA");
    }

    @Override
    public long fingerprint(Tensor tensor) {
        throw new UnsupportedOperationException("Merge.fingerprint on CUDA");
    }
}
