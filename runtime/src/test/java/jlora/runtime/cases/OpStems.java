package jlora.runtime.cases;

import jlora.runtime.backend.Kernels;
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

import java.util.List;

/** The registry of op cases: one line per op. */
public final class OpStems {
    public static final OpStem<LinearKernel> LINEAR =
            new OpStem<>("linear", Kernels::linear, LinearCase::all, LinearCase::speed);
    public static final OpStem<LowRankKernel> LOW_RANK =
            new OpStem<>("low_rank", Kernels::lowRank, LowRankCase::all, LowRankCase::speed);
    public static final OpStem<EmbeddingKernel> EMBEDDING =
            new OpStem<>("embedding", Kernels::embedding, EmbeddingCase::all, EmbeddingCase::speed);
    public static final OpStem<RmsNormKernel> RMS_NORM =
            new OpStem<>("rms_norm", Kernels::rmsNorm, RmsNormCase::all, RmsNormCase::speed);
    public static final OpStem<LayerNormKernel> LAYER_NORM =
            new OpStem<>(
                    "layer_norm", Kernels::layerNorm, LayerNormCase::all, LayerNormCase::speed);
    public static final OpStem<RopeKernel> ROPE =
            new OpStem<>("rope", Kernels::rope, RopeCase::all, RopeCase::speed);
    public static final OpStem<AttentionKernel> ATTENTION =
            new OpStem<>("attention", Kernels::attention, AttentionCase::all, AttentionCase::speed);
    public static final OpStem<CachedAttentionKernel> CACHED_ATTENTION =
            new OpStem<>(
                    "cached_attention",
                    Kernels::cachedAttention,
                    CachedAttentionCase::all,
                    CachedAttentionCase::speed);
    public static final OpStem<SwigluKernel> SWIGLU =
            new OpStem<>("swiglu", Kernels::swiglu, SwigluCase::all, SwigluCase::speed);
    public static final OpStem<GeluKernel> GELU =
            new OpStem<>("gelu", Kernels::gelu, GeluCase::all, GeluCase::speed);
    public static final OpStem<LinearCrossEntropyKernel> LINEAR_CROSS_ENTROPY =
            new OpStem<>(
                    "linear_cross_entropy",
                    Kernels::linearCrossEntropy,
                    LinearCrossEntropyCase::all,
                    LinearCrossEntropyCase::speed);
    public static final OpStem<GradNormKernel> GRAD_NORM =
            new OpStem<>("grad_norm", Kernels::gradNorm, GradNormCase::all, GradNormCase::speed);
    public static final OpStem<AdamWKernel> ADAMW =
            new OpStem<>("adamw", Kernels::adamW, AdamWCase::all, AdamWCase::speed);
    public static final OpStem<PublishKernel> PUBLISH =
            new OpStem<>("publish", Kernels::publish, PublishCase::all, PublishCase::speed);
    public static final OpStem<RandomFillKernel> RANDOM_FILL =
            new OpStem<>(
                    "random_fill", Kernels::randomFill, RandomFillCase::all, RandomFillCase::speed);
    public static final OpStem<MergeKernel> MERGE =
            new OpStem<>("merge", Kernels::merge, MergeCase::all, MergeCase::speed);
    public static final OpStem<FourBitKernel> FOUR_BIT =
            new OpStem<>("four_bit", Kernels::fourBit, FourBitCase::all, FourBitCase::speed);
    public static final OpStem<Fp8Kernel> FP8 =
            new OpStem<>("fp8", Kernels::fp8, Fp8Case::all, Fp8Case::speed);

    public static final List<OpStem<?>> ALL =
            List.of(
                    LINEAR,
                    LOW_RANK,
                    EMBEDDING,
                    RMS_NORM,
                    LAYER_NORM,
                    ROPE,
                    ATTENTION,
                    CACHED_ATTENTION,
                    SWIGLU,
                    GELU,
                    LINEAR_CROSS_ENTROPY,
                    GRAD_NORM,
                    ADAMW,
                    PUBLISH,
                    RANDOM_FILL,
                    MERGE,
                    FOUR_BIT,
                    FP8);

    private OpStems() {}
}
