package jlora.runtime.backend;

import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.tensor.Tensor;

import java.util.List;

/**
 * Work of a device beside the order of its kernels: filling scratch before it is needed. What is
 * started sees everything that was started before it, here and there; what follows leaves the
 * tensors alone until {@link #await}. Both may be part of a {@link Backend#routine}, in the same
 * run of it.
 */
public interface Aside {
    /**
     * Starts to copy memory of the host, page-locked on a device of its own.
     *
     * @param to dense
     * @param from dense, of the same bytes, in memory of {@link Backend#allocateHost}
     */
    void startCopy(Tensor to, Tensor from);

    /** Starts {@link jlora.runtime.kernel.FourBitKernel#dequantize}. */
    void startDequantize(Tensor to, List<FourBitMatrix> from);

    /** Starts {@link jlora.runtime.kernel.Fp8Kernel#transpose}. */
    void startTranspose(Fp8Matrix to, Fp8Matrix from);

    /** Work that follows sees all that was started into the storage of this tensor. */
    void await(Tensor to);
}
