package jlora.runtime.backend.cuda;

import jlora.cu.CudaLibraries;
import jlora.cu.MissingLibraryException;
import jlora.cu.cudnn.UnsupportedByCudnnException;
import jlora.cu.driver.CudaException;
import jlora.runtime.JloraException;
import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.tensor.Tensor;

import java.util.HashSet;
import java.util.Optional;
import java.util.Set;

/**
 * Attention by cuDNN or by our own kernels. Both leave the same behind, so forward and backward may
 * differ; what is chosen depends on the plan's shapes alone, so a plan's runs are all alike.
 */
final class CudaAttention implements AttentionKernel, AutoCloseable {
    /**
     * As often {@link AttentionEngine#AUTO} lets cuDNN go over a batch for its gradients: our
     * kernels take 7 products where one pass takes 5, and more passes leave the GPU half empty.
     */
    private static final int AUTO_PASSES = 8;

    /** What cuDNN has been tried at. */
    private record Trial(AttentionShape shape, boolean backward) {}

    private final CudaKernels kernels;
    private final AttentionEngine engine;
    private final OwnAttention own;
    private final Optional<CudnnAttention> cudnn;
    private final Set<Trial> passed = new HashSet<>();

    private CudaAttention(
            CudaKernels kernels, AttentionEngine engine, Optional<CudnnAttention> cudnn) {
        this.kernels = kernels;
        this.engine = engine;
        this.own = new OwnAttention(kernels);
        this.cudnn = cudnn;
    }

    /**
     * With {@link AttentionEngine#CUDNN}, cuDNN has to be there; jlora doctor says why it is not.
     */
    static CudaAttention open(
            AttentionEngine engine, CudaLibraries libraries, CudaKernels kernels) {
        if (engine == AttentionEngine.OWN) {
            return new CudaAttention(kernels, engine, Optional.empty());
        }
        try {
            CudnnAttention cudnn = new CudnnAttention(libraries, kernels);
            return new CudaAttention(kernels, engine, Optional.of(cudnn));
        } catch (MissingLibraryException
                | UnsupportedByCudnnException
                | CudaException.CallFailed e) {
            if (engine == AttentionEngine.CUDNN) {
                throw refused(e.getMessage());
            }
            return new CudaAttention(kernels, engine, Optional.empty());
        }
    }

    private static JloraException refused(String reason) {
        return JloraException.usage(
                "attention is cudnn, but " + reason + "; or set attention: auto or attention: own");
    }

    /** Who computes attention, as far as it can. */
    String describe() {
        return cudnn.map(CudnnAttention::describe).orElse("own kernels");
    }

    /** Device memory that is held for it. */
    long reservedBytes() {
        return cudnn.isPresent() ? CudnnAttention.WORKSPACE_BYTES : 0;
    }

    @Override
    public void forward(
            Tensor out, Tensor lse, Tensor qkv, PackedSequences sequences, AttentionShape shape) {
        choose(
                        qkv,
                        shape,
                        false,
                        library -> library.againstForward(out, lse, qkv, sequences, shape))
                .forward(out, lse, qkv, sequences, shape);
    }

    @Override
    public void backward(
            Tensor dQkv,
            Tensor dOut,
            Tensor out,
            Tensor lse,
            Tensor qkv,
            PackedSequences sequences,
            AttentionShape shape) {
        int passes = engine == AttentionEngine.CUDNN ? Integer.MAX_VALUE : AUTO_PASSES;
        choose(
                        qkv,
                        shape,
                        true,
                        library ->
                                library.againstBackward(
                                        dQkv, dOut, out, lse, qkv, sequences, shape, passes))
                .backward(dQkv, dOut, out, lse, qkv, sequences, shape);
    }

    private interface Objection {
        Optional<String> of(CudnnAttention library);
    }

    private AttentionKernel choose(
            Tensor qkv, AttentionShape shape, boolean backward, Objection objection) {
        if (cudnn.isEmpty() || qkv.rows() == 0) {
            return own;
        }
        CudnnAttention library = cudnn.get();
        Optional<String> against = objection.of(library);
        if (against.isPresent()) {
            if (engine == AttentionEngine.CUDNN) {
                throw refused(against.get());
            }
            return own;
        }
        Trial trial = new Trial(shape, backward);
        if (!passed.contains(trial)) {
            AttentionTrial run = new AttentionTrial(kernels, own, shape);
            if (backward) {
                run.backward(library.describe(), library);
            } else {
                run.forward(library.describe(), library);
            }
            passed.add(trial);
        }
        return library;
    }

    @Override
    public void close() {
        cudnn.ifPresent(CudnnAttention::close);
    }
}
