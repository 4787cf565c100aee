package jlora.runtime.op;

import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.kernel.LowRankBorder.Block;
import jlora.runtime.kernel.LowRankBorder.Target;
import jlora.runtime.plan.Gradients;
import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Records a product with a bordered weight (arXiv 2106.09685, equation 3: h = W·x + s·B·A·x),
 * forward and backward.
 *
 * <pre>
 *   U  = X·Aᵀ          into the columns behind X        Y  = [X|U]·[W|sB]ᵀ   one product of depth K+R
 *   dU = dY·(sB)       into the columns behind dY       dX = [dY|dU]·[W;A]   one product of depth N+R
 *   dA = dUᵀ·X,  dB = s·dYᵀ·U
 * </pre>
 *
 * Over a frozen weight in FP8 the large products are others (see {@code Fp8Product}), and U, dU, dA
 * and dB the same.
 *
 * <p>The thin products are those of {@link jlora.runtime.kernel.LowRankKernel}. With dropout, U
 * sees masked inputs and W does not, so dX takes its low-rank term separately: dX = dY·W +
 * mask∘(dU·A).
 */
public final class Linear {
    private final Trace trace;
    private final String name;
    private final Tensor x;
    private final LinearProduct product;
    private final Optional<Tensor> bias;
    private final long rank;
    private final Optional<Tensor> adapterOfRow;
    private final Tensor rng;
    private final Optional<LowRankBorder> low;
    private final boolean dropout;

    private Linear(
            Trace trace,
            String name,
            Tensor x,
            LinearProduct product,
            Optional<Tensor> bias,
            Optional<LowRankBorder> border,
            Optional<Tensor> adapterOfRow,
            Tensor rng) {
        bias.ifPresent(b -> Check.shape("linear " + name, b, 1, product.out()));
        this.trace = trace;
        this.name = name;
        this.x = x;
        this.product = product;
        this.bias = bias;
        this.rank = border.map(LowRankBorder::rank).orElse(0L);
        this.adapterOfRow = adapterOfRow;
        this.rng = rng;
        this.low = border.map(all -> trace.training() ? all : all.withoutDropout());
        this.dropout = low.isPresent() && low.get().drops();
    }

    /**
     * @param x [T,K], with at least R columns behind each row when there is a border
     * @param weight [N,K]
     * @param bias [1,N]
     * @param adapterOfRow i32 [1,T]: which adapter each token uses, where that is not the same for
     *     all
     * @param rng the state of dropout, as {@link jlora.runtime.kernel.LowRankKernel} says
     * @return [T,N]
     */
    public static Tensor apply(
            Trace trace,
            String name,
            Tensor x,
            Tensor weight,
            Optional<Tensor> bias,
            Optional<Border> border,
            Optional<Tensor> adapterOfRow,
            Tensor rng) {
        Check.cols("linear " + name, weight, x.cols());
        Check.sameType("linear " + name, x, weight);
        return new Linear(
                        trace,
                        name,
                        x,
                        new BorderedProduct(weight, border),
                        bias,
                        border.map(Border::lowRank),
                        adapterOfRow,
                        rng)
                .record();
    }

    /**
     * The same with a frozen weight in FP8; adapters stay of the activations' type, and so do their
     * gradients.
     *
     * @param weight [N,K]
     * @param transposed [K,N], as {@link jlora.runtime.kernel.Fp8Kernel#transpose} makes it of the
     *     weight; may be empty where no gradient of x is wanted
     * @param border A [R,K] and s·B [N,R]
     */
    public static Tensor apply(
            Trace trace,
            String name,
            Tensor x,
            Fp8Matrix weight,
            Optional<Fp8Matrix> transposed,
            Optional<Tensor> bias,
            Optional<LowRankBorder> border,
            Optional<Tensor> adapterOfRow,
            Tensor rng) {
        Check.cols("linear " + name, weight.codes(), x.cols());
        transposed.ifPresent(
                t -> Check.shape("linear " + name, t.codes(), weight.cols(), weight.rows()));
        border.ifPresent(all -> Check.sameType("linear " + name, x, all.a()));
        return new Linear(
                        trace,
                        name,
                        x,
                        new Fp8Product(name, weight, transposed, border),
                        bias,
                        border,
                        adapterOfRow,
                        rng)
                .record();
    }

    /** A plain product x·weightᵀ [T,N] of f32 results, such as logits; not differentiable. */
    public static Tensor logits(Trace trace, Tensor x, Tensor weight) {
        Check.cols("logits", weight, x.cols());
        Tensor y = trace.activation("logits", DType.F32, x.rows(), weight.rows(), 0, 0);
        trace.step(
                Step.of(
                                "linear",
                                List.of(x, weight),
                                List.of(y),
                                k -> k.linear().forward(y, x, weight, Optional.empty()))
                        .flops(2 * x.rows() * weight.elements()));
        return y;
    }

    private Tensor record() {
        Tensor y = trace.activation(name, x.dtype(), x.rows(), product.out(), 0, rank);
        low.ifPresent(this::recordLowRank);
        product.forward(trace, y, x, bias);

        List<Tensor> inputs = new ArrayList<>(List.of(x));
        product.trainable().ifPresent(inputs::add);
        bias.ifPresent(inputs::add);
        low.ifPresent(
                all -> all.blocks().forEach(block -> inputs.addAll(List.of(block.a(), block.b()))));
        trace.backward(inputs, List.of(y), g -> backward(g, g.of(y)));
        return y;
    }

    private long product(long n, long k) {
        return 2 * x.rows() * n * k;
    }

    private void recordLowRank(LowRankBorder all) {
        Tensor u = x.columns(x.cols(), all.rank());
        List<Tensor> reads = new ArrayList<>(List.of(x, all.a()));
        adapterOfRow.ifPresent(reads::add);
        if (dropout) {
            reads.add(rng);
        }
        trace.step(
                Step.of(
                                "low_rank.forward",
                                reads,
                                List.of(u),
                                k -> k.lowRank().forward(u, x, all, adapterOfRow, rng))
                        .flops(product(all.rank(), x.cols()))
                        .markCheap());
    }

    private void backward(Gradients g, Tensor dy) {
        low.ifPresent(all -> lowRankBackward(g, all, dy));
        product.trainable().flatMap(g::parameter).ifPresent(d -> weightBackward(g, d, dy));
        bias.flatMap(g::parameter)
                .ifPresent(
                        d ->
                                g.step(
                                        Step.of(
                                                "linear.backward_bias",
                                                List.of(dy),
                                                List.of(d.tensor()),
                                                k -> k.linear().backwardBias(d, dy))));
        if (g.wants(x)) {
            inputBackward(g, dy);
        }
    }

    private void weightBackward(Gradients g, Grad into, Tensor dy) {
        g.step(
                Step.of(
                                "linear.backward_weight",
                                List.of(dy, x),
                                List.of(into.tensor()),
                                k -> k.linear().backwardWeight(into, dy, x, 1))
                        .flops(product(dy.cols(), x.cols())));
    }

    private void lowRankBackward(Gradients g, LowRankBorder all, Tensor dy) {
        Tensor du = dy.columns(dy.cols(), all.rank());
        Tensor u = x.columns(x.cols(), all.rank());
        List<Target> dA = new ArrayList<>();
        List<Target> dB = new ArrayList<>();
        for (Block block : all.blocks()) {
            g.parameter(block.a()).ifPresent(d -> dA.add(new Target(block, d)));
            g.parameter(block.b()).ifPresent(d -> dB.add(new Target(block, d)));
        }
        List<Tensor> reads = new ArrayList<>(List.of(dy, all.b()));
        adapterOfRow.ifPresent(reads::add);
        List<Tensor> writes = new ArrayList<>(List.of(du));
        if (!dB.isEmpty()) {
            reads.add(u);
            dB.forEach(target -> writes.add(target.grad().tensor()));
        }
        long thin = all.blocks().stream().mapToLong(b -> product(b.out(), b.rank())).sum();
        g.step(
                Step.of(
                                "low_rank.backward_output",
                                reads,
                                writes,
                                k -> k.lowRank().backwardOutput(du, dB, dy, u, all, adapterOfRow))
                        .flops(thin + flops(dB)));
        if (!dA.isEmpty()) {
            g.step(
                    Step.of(
                                    "low_rank.backward_a",
                                    dropout ? List.of(du, x, rng) : List.of(du, x),
                                    dA.stream().map(target -> target.grad().tensor()).toList(),
                                    k -> k.lowRank().backwardA(dA, du, x, rng))
                            .flops(flops(dA)));
        }
    }

    private long flops(List<Target> gradients) {
        return gradients.stream()
                .mapToLong(target -> 2 * x.rows() * target.grad().tensor().elements())
                .sum();
    }

    private void inputBackward(Gradients g, Tensor dy) {
        Grad dx = g.into(x);
        product.backwardInput(g, dx, dy, !dropout);
        if (dropout) {
            maskedInputBackward(g, dx.tensor(), low.get(), dy);
        }
    }

    private void maskedInputBackward(Gradients g, Tensor dx, LowRankBorder all, Tensor dy) {
        Tensor du = dy.columns(dy.cols(), all.rank());
        g.step(
                Step.of(
                                "low_rank.backward_input_dropout",
                                List.of(du, all.a(), rng, dx),
                                List.of(dx),
                                k -> k.lowRank().backwardInputDropout(dx, du, all, rng))
                        .flops(product(all.rank(), x.cols())));
    }
}
