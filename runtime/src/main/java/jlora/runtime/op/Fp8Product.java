package jlora.runtime.op;

import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.plan.Gradients;
import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A frozen weight in FP8. Its products read activations that were quantised for them, and cannot
 * read the border, which is of the activations' own type: the low-rank term comes first, as a
 * product of depth R, and the FP8 product adds to it.
 *
 * <pre>
 *   Y  = U·(sB)ᵀ + bias,   Y  += q(X)·Q(W)ᵀ
 *   dX = dU·A,             dX += q(dY·diag(s))·Q(W)      s: W's scales by rows, or none
 * </pre>
 *
 * @param name of the layer
 * @param weight [N,K]
 * @param transposed [K,N], as {@link jlora.runtime.kernel.Fp8Kernel#transpose} makes it; may be
 *     empty where no gradient passes
 * @param border A [R,K] and s·B [N,R], of the activations' type
 */
record Fp8Product(
        String name,
        Fp8Matrix weight,
        Optional<Fp8Matrix> transposed,
        Optional<LowRankBorder> border)
        implements LinearProduct {
    @Override
    public long out() {
        return weight.rows();
    }

    @Override
    public Optional<Tensor> trainable() {
        return Optional.empty();
    }

    @Override
    public void forward(Trace trace, Tensor y, Tensor x, Optional<Tensor> bias) {
        // A sum of no terms is the bias on every row.
        long depth = border.map(LowRankBorder::rank).orElse(0L);
        if (depth > 0 || bias.isPresent()) {
            Tensor u = x.columns(depth > 0 ? x.cols() : 0, depth);
            Tensor b = border.map(LowRankBorder::b).orElseGet(() -> noColumns(bias.get()));
            List<Tensor> reads = new ArrayList<>(List.of(u, b));
            bias.ifPresent(reads::add);
            trace.step(
                    Step.of("linear", reads, List.of(y), k -> k.linear().forward(y, u, b, bias))
                            .flops(2 * y.elements() * depth));
        }
        multiply(
                trace, y, x, name + ".x8", weight, Optional.empty(), depth > 0 || bias.isPresent());
    }

    /** [N,0]. */
    private Tensor noColumns(Tensor like) {
        return new Tensor(like.name(), like.storage(), like.dtype(), out(), 0, like.offset(), 1);
    }

    @Override
    public void backwardInput(Gradients g, Grad dx, Tensor dy, boolean lowRank) {
        Fp8Matrix matrix =
                transposed.orElseThrow(
                        () ->
                                new IllegalArgumentException(
                                        name + ": a gradient passes, and nothing is transposed"));
        boolean adds = dx.accumulate();
        if (border.isPresent() && lowRank) {
            Tensor du = dy.columns(dy.cols(), border.get().rank());
            Tensor a = border.get().a();
            List<Tensor> reads = new ArrayList<>(List.of(du, a));
            if (adds) {
                reads.add(dx.tensor());
            }
            g.step(
                    Step.of(
                                    "linear.backward_input",
                                    reads,
                                    List.of(dx.tensor()),
                                    k -> k.linear().backwardInput(dx, du, a))
                            .flops(2 * dy.rows() * a.elements()));
            adds = true;
        }
        Optional<Tensor> factors = weight.scales().filter(_ -> weight.scaling() == Scaling.ROW);
        multiply(g.trace(), dx.tensor(), dy, name + ".dy8", matrix, factors, adds);
    }

    /** out (+)= q(in·diag(factors))·matrixᵀ. */
    private static void multiply(
            Trace trace,
            Tensor out,
            Tensor in,
            String label,
            Fp8Matrix matrix,
            Optional<Tensor> factors,
            boolean accumulate) {
        Fp8Matrix quantised =
                Fp8Matrix.allocate(
                        in.rows(),
                        in.cols(),
                        matrix.scaling().ofActivations(),
                        (what, type, rows, cols) ->
                                trace.workspace(label + "." + what, type, rows, cols));
        List<Tensor> sources = new ArrayList<>(List.of(in));
        factors.ifPresent(sources::add);
        trace.step(
                Step.of(
                        "fp8.quantize",
                        sources,
                        tensors(quantised),
                        k -> k.fp8().quantize(quantised, in, factors)));
        List<Tensor> reads = tensors(quantised);
        reads.addAll(tensors(matrix));
        if (accumulate) {
            reads.add(out);
        }
        trace.step(
                Step.of(
                                "fp8.multiply",
                                reads,
                                List.of(out),
                                k -> k.fp8().multiply(out, quantised, matrix, accumulate))
                        .flops(2 * in.rows() * matrix.codes().elements()));
    }

    private static List<Tensor> tensors(Fp8Matrix matrix) {
        List<Tensor> tensors = new ArrayList<>(List.of(matrix.codes()));
        matrix.scales().ifPresent(tensors::add);
        return tensors;
    }
}
