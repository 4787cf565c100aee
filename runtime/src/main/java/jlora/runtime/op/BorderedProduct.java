package jlora.runtime.op;

import jlora.runtime.plan.Gradients;
import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A weight of the activations' type, which holds its border: the low-rank terms are more depth of
 * the same products.
 *
 * @param matrix [N,K]
 */
record BorderedProduct(Tensor matrix, Optional<Border> border) implements LinearProduct {
    @Override
    public long out() {
        return matrix.rows();
    }

    @Override
    public Optional<Tensor> trainable() {
        return Optional.of(matrix);
    }

    @Override
    public void forward(Trace trace, Tensor y, Tensor x, Optional<Tensor> bias) {
        Tensor input = border.map(b -> x.columns(0, x.cols() + b.rank())).orElse(x);
        Tensor wide = border.map(Border::weightAndB).orElse(matrix);
        List<Tensor> reads = new ArrayList<>(List.of(input, wide));
        bias.ifPresent(reads::add);
        trace.step(
                Step.of("linear", reads, List.of(y), k -> k.linear().forward(y, input, wide, bias))
                        .flops(2 * x.rows() * wide.elements()));
    }

    @Override
    public void backwardInput(Gradients g, Grad dx, Tensor dy, boolean lowRank) {
        boolean oneProduct = border.isPresent() && lowRank;
        Tensor gradient = oneProduct ? dy.columns(0, dy.cols() + border.get().rank()) : dy;
        Tensor tall = oneProduct ? border.get().weightAndA() : matrix;
        List<Tensor> reads = new ArrayList<>(List.of(gradient, tall));
        if (dx.accumulate()) {
            reads.add(dx.tensor());
        }
        g.step(
                Step.of(
                                "linear.backward_input",
                                reads,
                                List.of(dx.tensor()),
                                k -> k.linear().backwardInput(dx, gradient, tall))
                        .flops(2 * dy.rows() * tall.elements()));
    }
}
