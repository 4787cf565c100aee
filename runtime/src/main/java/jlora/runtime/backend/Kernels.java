package jlora.runtime.backend;

import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.CachedAttentionKernel;
import jlora.runtime.kernel.EmbeddingKernel;
import jlora.runtime.kernel.FourBitKernel;
import jlora.runtime.kernel.Fp8Kernel;
import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.kernel.GradNormKernel;
import jlora.runtime.kernel.LayerNormKernel;
import jlora.runtime.kernel.LinearCrossEntropyKernel;
import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.kernel.LowRankKernel;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.kernel.PublishKernel;
import jlora.runtime.kernel.RandomFillKernel;
import jlora.runtime.kernel.RmsNormKernel;
import jlora.runtime.kernel.RopeKernel;
import jlora.runtime.kernel.SwigluKernel;

/**
 * Every kernel of one backend: what the steps of a plan call. A new op is one component here, and
 * each backend that lacks it stops compiling.
 */
public record Kernels(
        LinearKernel linear,
        LowRankKernel lowRank,
        EmbeddingKernel embedding,
        RmsNormKernel rmsNorm,
        LayerNormKernel layerNorm,
        RopeKernel rope,
        AttentionKernel attention,
        CachedAttentionKernel cachedAttention,
        SwigluKernel swiglu,
        GeluKernel gelu,
        LinearCrossEntropyKernel linearCrossEntropy,
        GradNormKernel gradNorm,
        AdamWKernel adamW,
        PublishKernel publish,
        RandomFillKernel randomFill,
        MergeKernel merge,
        FourBitKernel fourBit,
        Fp8Kernel fp8) {}
