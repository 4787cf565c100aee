package jlora.runtime.backend.cpu.reference;

import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.CachedAttentionKernel;
import jlora.runtime.kernel.DropoutKernel;
import jlora.runtime.kernel.EmbeddingKernel;
import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.kernel.GradNormKernel;
import jlora.runtime.kernel.LayerNormKernel;
import jlora.runtime.kernel.LinearCrossEntropyKernel;
import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.kernel.PublishKernel;
import jlora.runtime.kernel.RmsNormKernel;
import jlora.runtime.kernel.RopeKernel;
import jlora.runtime.kernel.RowMaskKernel;
import jlora.runtime.kernel.SwigluKernel;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;

/**
 * What every kernel means: scalar loops over double accumulators, each result rounded once. Slow,
 * and the measure that every other backend is held against.
 */
public final class ReferenceBackend implements Backend {
    private final LinearKernel linear = new ReferenceLinear();
    private final EmbeddingKernel embedding = new ReferenceEmbedding();
    private final RmsNormKernel rmsNorm = new ReferenceRmsNorm();
    private final LayerNormKernel layerNorm = new ReferenceLayerNorm();
    private final RopeKernel rope = new ReferenceRope();
    private final AttentionKernel attention = new ReferenceAttention();
    private final CachedAttentionKernel cachedAttention = new ReferenceCachedAttention();
    private final SwigluKernel swiglu = new ReferenceSwiglu();
    private final GeluKernel gelu = new ReferenceGelu();
    private final DropoutKernel dropout = new ReferenceDropout();
    private final RowMaskKernel rowMask = new ReferenceRowMask();
    private final LinearCrossEntropyKernel linearCrossEntropy = new ReferenceLinearCrossEntropy();
    private final GradNormKernel gradNorm = new ReferenceGradNorm();
    private final AdamWKernel adamW = new ReferenceAdamW();
    private final PublishKernel publish = new ReferencePublish();
    private final MergeKernel merge = new ReferenceMerge();

    @Override
    public String describe() {
        return "reference (scalar loops, double accumulators, one thread)";
    }

    @Override
    public LinearKernel linear() {
        return linear;
    }

    @Override
    public EmbeddingKernel embedding() {
        return embedding;
    }

    @Override
    public RmsNormKernel rmsNorm() {
        return rmsNorm;
    }

    @Override
    public LayerNormKernel layerNorm() {
        return layerNorm;
    }

    @Override
    public RopeKernel rope() {
        return rope;
    }

    @Override
    public AttentionKernel attention() {
        return attention;
    }

    @Override
    public CachedAttentionKernel cachedAttention() {
        return cachedAttention;
    }

    @Override
    public SwigluKernel swiglu() {
        return swiglu;
    }

    @Override
    public GeluKernel gelu() {
        return gelu;
    }

    @Override
    public DropoutKernel dropout() {
        return dropout;
    }

    @Override
    public RowMaskKernel rowMask() {
        return rowMask;
    }

    @Override
    public LinearCrossEntropyKernel linearCrossEntropy() {
        return linearCrossEntropy;
    }

    @Override
    public GradNormKernel gradNorm() {
        return gradNorm;
    }

    @Override
    public AdamWKernel adamW() {
        return adamW;
    }

    @Override
    public PublishKernel publish() {
        return publish;
    }

    @Override
    public MergeKernel merge() {
        return merge;
    }

    @Override
    public MemoryArena allocate(String label, long bytes) {
        return MemoryArena.host(label, bytes);
    }

    @Override
    public void upload(Tensor to, MemorySegment from) {
        long rowBytes = to.cols() * to.dtype().bytes();
        for (long r = 0; r < to.rows(); r++) {
            MemorySegment.copy(from, r * rowBytes, to.segment(), to.byteOffset(r), rowBytes);
        }
    }

    @Override
    public void download(MemorySegment to, Tensor from) {
        long rowBytes = from.cols() * from.dtype().bytes();
        for (long r = 0; r < from.rows(); r++) {
            MemorySegment.copy(from.segment(), from.byteOffset(r), to, r * rowBytes, rowBytes);
        }
    }

    @Override
    public void synchronize() {}

    @Override
    public void close() {}
}
