package jlora.runtime.op;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Records {@link jlora.runtime.kernel.AttentionKernel} and {@link
 * jlora.runtime.kernel.CachedAttentionKernel}.
 */
public final class Attention {
    private Attention() {}

    /**
     * Causal attention within each packed sequence.
     *
     * @param qkv [T, fusedCols]
     * @param keyMask i32 [1,T], or empty when no key is hidden
     * @param longest no sequence of any batch has more tokens
     * @param pad columns behind each output row for the low-rank part of the product that reads it
     * @return [T, heads·headDim]
     */
    public static Tensor apply(
            Trace trace,
            Tensor qkv,
            Tensor cuSeqlens,
            Optional<Tensor> keyMask,
            AttentionShape shape,
            long longest,
            long pad) {
        Check.cols("attention", qkv, shape.fusedCols());
        keyMask.ifPresent(mask -> Check.shape("attention", mask, 1, qkv.rows()));
        PackedSequences sequences = new PackedSequences(cuSeqlens, keyMask, longest);
        Tensor out =
                trace.activation("attention", trace.dtype(), qkv.rows(), shape.queryCols(), pad, 0);
        Tensor lse = trace.activation("attention.lse", DType.F32, qkv.rows(), shape.heads(), 0, 0);
        long span = shape.window() == 0 ? longest : Math.min(longest, 2L * shape.window());
        long flops = 2 * qkv.rows() * span * shape.queryCols();
        trace.step(
                Step.of(
                                "attention",
                                with(keyMask, qkv, cuSeqlens),
                                List.of(out, lse),
                                k -> k.attention().forward(out, lse, qkv, sequences, shape))
                        .flops(flops));
        trace.backward(
                List.of(qkv),
                List.of(out),
                g -> {
                    Tensor dOut = g.of(out);
                    Tensor dQkv = g.only(qkv);
                    g.step(
                            Step.of(
                                            "attention.backward",
                                            with(keyMask, dOut, out, lse, qkv, cuSeqlens),
                                            List.of(dQkv),
                                            k ->
                                                    k.attention()
                                                            .backward(
                                                                    dQkv, dOut, out, lse, qkv,
                                                                    sequences, shape))
                                    .flops(5 * flops / 2));
                });
        return out;
    }

    private static List<Tensor> with(Optional<Tensor> keyMask, Tensor... reads) {
        List<Tensor> all = new ArrayList<>(List.of(reads));
        keyMask.ifPresent(all::add);
        return all;
    }

    /** Attention of new tokens to a cache that they are appended to; for generation. */
    public static Tensor cached(
            Trace trace,
            Tensor qkv,
            Tensor cache,
            Tensor cuSeqlens,
            Tensor cached,
            AttentionShape shape,
            int capacity,
            long pad) {
        Check.cols("cached_attention", qkv, shape.fusedCols());
        Check.cols("cached_attention", cache, 2L * shape.keyCols());
        Tensor out =
                trace.activation("attention", trace.dtype(), qkv.rows(), shape.queryCols(), pad, 0);
        trace.step(
                Step.of(
                                "cached_attention",
                                List.of(qkv, cache, cuSeqlens, cached),
                                List.of(out, cache),
                                k ->
                                        k.cachedAttention()
                                                .forward(
                                                        out, cache, qkv, cuSeqlens, cached, shape,
                                                        capacity))
                        .flops(4L * qkv.rows() * capacity * shape.queryCols()));
        return out;
    }
}
