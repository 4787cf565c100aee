package jlora.runtime.op;

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
 * With dropout, U sees masked inputs and W does not, so dX takes its low-rank term separately: dX =
 * dY·W + mask∘(dU·A).
 */
public final class Linear {
    private final Trace trace;
    private final String name;
    private final Tensor x;
    private final Tensor weight;
    private final Optional<Tensor> bias;
    private final Optional<Border> border;
    private final Optional<Tensor> adapterOfRow;
    private final Tensor rng;
    private final boolean dropout;

    private Linear(
            Trace trace,
            String name,
            Tensor x,
            Tensor weight,
            Optional<Tensor> bias,
            Optional<Border> border,
            Optional<Tensor> adapterOfRow,
            Tensor rng) {
        this.trace = trace;
        this.name = name;
        this.x = x;
        this.weight = weight;
        this.bias = bias;
        this.border = border;
        this.adapterOfRow = adapterOfRow;
        this.rng = rng;
        this.dropout = trace.training() && border.isPresent() && border.get().dropout();
    }

    /**
     * @param x [T,K], with at least R columns behind each row when there is a border
     * @param weight [N,K]
     * @param bias [1,N]
     * @param adapterOfRow i32 [1,T]: which adapter each token uses, where that is not the same for
     *     all
     * @param rng the state of {@link jlora.runtime.kernel.DropoutKernel}
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
        bias.ifPresent(b -> Check.shape("linear " + name, b, 1, weight.rows()));
        return new Linear(trace, name, x, weight, bias, border, adapterOfRow, rng).record();
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
        long rank = border.map(Border::rank).orElse(0L);
        Tensor y = trace.activation(name, x.dtype(), x.rows(), weight.rows(), 0, rank);
        border.ifPresent(this::recordLowRank);
        Tensor input = border.isPresent() ? x.columns(0, x.cols() + rank) : x;
        Tensor matrix = border.map(Border::weightAndB).orElse(weight);
        List<Tensor> reads = new ArrayList<>(List.of(input, matrix));
        bias.ifPresent(reads::add);
        trace.step(
                Step.of(
                                "linear",
                                reads,
                                List.of(y),
                                k -> k.linear().forward(y, input, matrix, bias))
                        .flops(product(matrix.rows(), matrix.cols())));

        List<Tensor> inputs = new ArrayList<>(List.of(x, weight));
        bias.ifPresent(inputs::add);
        border.ifPresent(
                all -> all.blocks().forEach(block -> inputs.addAll(List.of(block.a(), block.b()))));
        trace.backward(inputs, List.of(y), g -> backward(g, g.of(y)));
        return y;
    }

    private long product(long n, long k) {
        return 2 * x.rows() * n * k;
    }

    private void recordLowRank(Border low) {
        Tensor u = x.columns(x.cols(), low.rank());
        if (!dropout) {
            trace.step(
                    Step.of(
                                    "linear.low_rank",
                                    List.of(x, low.a()),
                                    List.of(u),
                                    k -> k.linear().forward(u, x, low.a(), Optional.empty()))
                            .flops(product(low.rank(), x.cols()))
                            .markCheap());
        } else {
            // Border columns that no block owns are multiplied by zero weights, but must not hold
            // NaN.
            long used = 0;
            for (Border.Block block : low.blocks()) {
                if (block.rankFrom() != used) {
                    throw new IllegalStateException(
                            name + ": blocks of the border are not adjacent");
                }
                used += block.a().rows();
                Tensor masked = trace.workspace(name + ".dropout", x.dtype(), x.rows(), x.cols());
                boolean last = used == low.blocks().stream().mapToLong(o -> o.a().rows()).sum();
                long width = last ? low.rank() - block.rankFrom() : block.a().rows();
                Tensor part = u.columns(block.rankFrom(), width);
                Tensor a = low.a().rows(block.rankFrom(), width);
                trace.step(
                        Step.of(
                                        "linear.low_rank",
                                        List.of(x, a, rng),
                                        List.of(masked, part),
                                        k -> {
                                            k.dropout()
                                                    .forward(
                                                            masked,
                                                            x,
                                                            block.dropout(),
                                                            rng,
                                                            block.stream());
                                            k.linear().forward(part, masked, a, Optional.empty());
                                        })
                                .flops(product(width, x.cols()))
                                .markCheap());
            }
        }
        maskRows(low, u, trace::step);
    }

    /** Where tokens may use different adapters, each keeps the columns of its own. */
    private void maskRows(Border low, Tensor u, java.util.function.Consumer<Step> record) {
        adapterOfRow.ifPresent(
                adapters -> {
                    int[] adapterOfColumn = low.adapterOfColumn();
                    record.accept(
                            Step.of(
                                            "row_mask",
                                            List.of(u, adapters),
                                            List.of(u),
                                            k -> k.rowMask().apply(u, adapters, adapterOfColumn))
                                    .markCheap());
                });
    }

    private void backward(Gradients g, Tensor dy) {
        border.ifPresent(low -> lowRankBackward(g, low, dy));
        g.parameter(weight)
                .ifPresent(d -> weightBackward(g, d, dy, x, 1, "linear.backward_weight"));
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

    private void weightBackward(
            Gradients g, Grad into, Tensor dOut, Tensor in, float scale, String label) {
        g.step(
                Step.of(
                                label,
                                List.of(dOut, in),
                                List.of(into.tensor()),
                                k -> k.linear().backwardWeight(into, dOut, in, scale))
                        .flops(2 * x.rows() * into.tensor().elements()));
    }

    private void lowRankBackward(Gradients g, Border low, Tensor dy) {
        Tensor du = dy.columns(dy.cols(), low.rank());
        g.step(
                Step.of(
                                "linear.backward_low_rank",
                                List.of(dy, low.b()),
                                List.of(du),
                                k -> k.linear().backwardInput(Grad.overwrite(du), dy, low.b()))
                        .flops(product(low.rank(), dy.cols())));
        maskRows(low, du, g::step);
        Tensor u = x.columns(x.cols(), low.rank());
        for (Border.Block block : low.blocks()) {
            g.parameter(block.b())
                    .ifPresent(
                            d -> {
                                Tensor dyOfModule = dy.columns(block.outFrom(), block.b().rows());
                                Tensor uOfBlock = u.columns(block.rankFrom(), block.b().cols());
                                weightBackward(
                                        g,
                                        d,
                                        dyOfModule,
                                        uOfBlock,
                                        block.scale(),
                                        "linear.backward_lora_b");
                            });
        }
        if (dropout) {
            for (Border.Block block : low.blocks()) {
                g.parameter(block.a()).ifPresent(d -> maskedBackwardA(g, d, block, du));
            }
        } else {
            backwardA(g, low, du);
        }
    }

    /**
     * dA of adjacent blocks whose gradients are adjacent too (q, k and v are) is one product: X is
     * read once.
     */
    private void backwardA(Gradients g, Border low, Tensor du) {
        List<Border.Block> blocks = low.blocks();
        for (int i = 0; i < blocks.size(); ) {
            Optional<Grad> first = g.parameter(blocks.get(i).a());
            if (first.isEmpty()) {
                i++;
                continue;
            }
            Tensor gradient = first.get().tensor();
            long from = blocks.get(i).rankFrom();
            long rows = gradient.rows();
            for (i++; i < blocks.size(); i++) {
                Optional<Grad> next = g.parameter(blocks.get(i).a());
                if (next.isEmpty()
                        || next.get().tensor().storage() != gradient.storage()
                        || next.get().tensor().offset()
                                != gradient.offset() + rows * gradient.cols()
                        || blocks.get(i).rankFrom() != from + rows) {
                    break;
                }
                rows += next.get().tensor().rows();
            }
            Tensor together =
                    new Tensor(
                            gradient.name(),
                            gradient.storage(),
                            DType.F32,
                            rows,
                            gradient.cols(),
                            gradient.offset(),
                            gradient.cols());
            weightBackward(
                    g,
                    Grad.accumulate(together),
                    du.columns(from, rows),
                    x,
                    1,
                    "linear.backward_lora_a");
        }
    }

    private void maskedBackwardA(Gradients g, Grad into, Border.Block block, Tensor du) {
        Tensor masked = trace.workspace(name + ".dropout", x.dtype(), x.rows(), x.cols());
        Tensor duOfBlock = du.columns(block.rankFrom(), block.a().rows());
        g.step(
                Step.of(
                                "linear.backward_lora_a",
                                List.of(duOfBlock, x, rng),
                                List.of(masked, into.tensor()),
                                k -> {
                                    k.dropout()
                                            .forward(
                                                    masked,
                                                    x,
                                                    block.dropout(),
                                                    rng,
                                                    block.stream());
                                    k.linear().backwardWeight(into, duOfBlock, masked, 1);
                                })
                        .flops(2 * x.rows() * into.tensor().elements()));
    }

    private void inputBackward(Gradients g, Tensor dy) {
        Grad dx = g.into(x);
        boolean oneProduct = border.isPresent() && !dropout;
        Tensor gradient = oneProduct ? dy.columns(0, dy.cols() + border.get().rank()) : dy;
        Tensor matrix = oneProduct ? border.get().weightAndA() : weight;
        List<Tensor> reads = new ArrayList<>(List.of(gradient, matrix));
        if (dx.accumulate()) {
            reads.add(dx.tensor());
        }
        g.step(
                Step.of(
                                "linear.backward_input",
                                reads,
                                List.of(dx.tensor()),
                                k -> k.linear().backwardInput(dx, gradient, matrix))
                        .flops(product(matrix.rows(), matrix.cols())));
        if (dropout) {
            border.get().blocks().forEach(block -> maskedBackwardInput(g, dx.tensor(), block, dy));
        }
    }

    private void maskedBackwardInput(Gradients g, Tensor dx, Border.Block block, Tensor dy) {
        Tensor lowRank = trace.workspace(name + ".dropout", x.dtype(), x.rows(), x.cols());
        Tensor du = dy.columns(dy.cols() + block.rankFrom(), block.a().rows());
        g.step(
                Step.of(
                                "linear.backward_input_dropout",
                                List.of(du, block.a(), rng, dx),
                                List.of(lowRank, dx),
                                k -> {
                                    k.linear()
                                            .backwardInput(Grad.overwrite(lowRank), du, block.a());
                                    k.dropout()
                                            .backward(
                                                    Grad.accumulate(dx),
                                                    lowRank,
                                                    block.dropout(),
                                                    rng,
                                                    block.stream());
                                })
                        .flops(product(block.a().rows(), x.cols())));
    }
}
