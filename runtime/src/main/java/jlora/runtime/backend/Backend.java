package jlora.runtime.backend;

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
 * A device that plans run on: every kernel, memory, and a way to wait. A missing op does not
 * compile.
 */
public interface Backend extends AutoCloseable {
    /** What a user sees: processor or GPU, product library, threads. */
    String describe();

    LinearKernel linear();

    EmbeddingKernel embedding();

    RmsNormKernel rmsNorm();

    LayerNormKernel layerNorm();

    RopeKernel rope();

    AttentionKernel attention();

    CachedAttentionKernel cachedAttention();

    SwigluKernel swiglu();

    GeluKernel gelu();

    DropoutKernel dropout();

    RowMaskKernel rowMask();

    LinearCrossEntropyKernel linearCrossEntropy();

    GradNormKernel gradNorm();

    AdamWKernel adamW();

    PublishKernel publish();

    MergeKernel merge();

    /** Zeroed memory of this device. */
    MemoryArena allocate(String label, long bytes);

    /** Copies dense host bytes into a tensor's elements, row by row. */
    void upload(Tensor to, MemorySegment from);

    /** Copies a tensor's elements into dense host bytes, row by row. */
    void download(MemorySegment to, Tensor from);

    /** Returns when everything started so far is done. */
    void synchronize();

    @Override
    void close();
}
