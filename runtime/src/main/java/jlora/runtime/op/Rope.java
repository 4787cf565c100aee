package jlora.runtime.op;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.List;

/** Records {@link jlora.runtime.kernel.RopeKernel}. */
public final class Rope {
    private Rope() {}

    /**
     * The cosines and sines of a batch's positions, [T,D] f32: formed once, used by every layer.
     */
    public static Tensor table(
            Trace trace, Tensor positions, Tensor inverseFrequencies, float scaling) {
        Check.type("rope", positions, DType.I32);
        Tensor table =
                trace.activation(
                        "rope.table",
                        DType.F32,
                        positions.cols(),
                        2 * inverseFrequencies.cols(),
                        0,
                        0);
        trace.step(
                Step.of(
                        "rope.table",
                        List.of(positions, inverseFrequencies),
                        List.of(table),
                        k -> k.rope().table(table, positions, inverseFrequencies, scaling)));
        return table;
    }

    /** Rotated [q | k | v] rows. */
    public static Tensor apply(Trace trace, Tensor qkv, Tensor table, AttentionShape shape) {
        Check.cols("rope", qkv, shape.fusedCols());
        Check.shape("rope", table, qkv.rows(), shape.headDim());
        Tensor out = trace.activation("rope", qkv.rows(), qkv.cols());
        trace.step(
                Step.of(
                                "rope",
                                List.of(qkv, table),
                                List.of(out),
                                k -> k.rope().forward(out, qkv, table, shape))
                        .flops(3L * qkv.rows() * (shape.queryCols() + shape.keyCols()))
                        .markCheap());
        trace.backward(
                List.of(qkv),
                List.of(out),
                g -> {
                    Tensor dOut = g.of(out);
                    Tensor dQkv = g.only(qkv);
                    g.step(
                            Step.of(
                                            "rope.backward",
                                            List.of(dOut, table),
                                            List.of(dQkv),
                                            k -> k.rope().backward(dQkv, dOut, table, shape))
                                    .flops(
                                            3L
                                                    * qkv.rows()
                                                    * (shape.queryCols() + shape.keyCols())));
                });
        return out;
    }
}
