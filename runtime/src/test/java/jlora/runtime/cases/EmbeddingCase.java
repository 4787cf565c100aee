package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;
import static jlora.runtime.tensor.DType.I32;

import jlora.runtime.kernel.EmbeddingKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Table look-up and its gradients; ids repeat.
 *
 * @param positions rows of a position table, or 0 for none
 */
public record EmbeddingCase(
        int tokens, int cols, int vocabulary, int positions, DType dtype, Layout layout)
        implements OpCase<EmbeddingKernel> {
    public static List<OpCase<EmbeddingKernel>> all() {
        List<OpCase<EmbeddingKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(new EmbeddingCase(1, 1, 1, 0, dtype, Layout.ODD));
            cases.add(new EmbeddingCase(5, 123, 3, 0, dtype, Layout.ODD));
            cases.add(new EmbeddingCase(40, 17, 1, 2, dtype, Layout.DENSE));
            cases.add(new EmbeddingCase(64, 48, 100, 16, dtype, Layout.PADDED));
            // Equal ids far apart.
            cases.add(new EmbeddingCase(2600, 8, 500, 1300, dtype, Layout.DENSE));
        }
        return cases;
    }

    /** GPT-2, 1024 tokens. */
    public static List<OpCase<EmbeddingKernel>> speed() {
        return List.of(
                new EmbeddingCase(1024, 768, 50_257, 1024, F32, Layout.DENSE),
                new EmbeddingCase(1024, 768, 50_257, 1024, BF16, Layout.DENSE));
    }

    @Override
    public Problem<EmbeddingKernel> problem() {
        var p = new Problem<EmbeddingKernel>("embedding " + this);
        Tolerance sums = Tolerance.f32(F32, tokens);
        Slot ids = p.input("ids", I32, 1, tokens, Layout.ODD, Fill.indices(vocabulary));
        Slot places =
                p.input(
                        "positions",
                        I32,
                        1,
                        tokens,
                        Layout.ODD,
                        Fill.indices(Math.max(1, positions)));
        Slot table = p.input("table", dtype, vocabulary, cols, layout, Fill.normal(1));
        Slot out = p.output("out", dtype, tokens, cols, layout, Tolerance.f32(dtype, 1));
        Slot dOut = p.input("dOut", dtype, tokens, cols, layout, Fill.normal(1));
        Slot dTable = p.updated("dTable", F32, vocabulary, cols, layout, Fill.normal(1), sums);
        List<Slot> forwardReads = new ArrayList<>(List.of(ids, places, table));
        List<Slot> backwardWrites = new ArrayList<>(List.of(dTable));
        Optional<Slot> positionTable = Optional.empty();
        Optional<Slot> dPositionTable = Optional.empty();
        if (positions > 0) {
            positionTable =
                    Optional.of(
                            p.input(
                                    "positionTable",
                                    dtype,
                                    positions,
                                    cols,
                                    layout,
                                    Fill.normal(1)));
            dPositionTable =
                    Optional.of(
                            p.updated(
                                    "dPositionTable",
                                    F32,
                                    positions,
                                    cols,
                                    layout,
                                    Fill.normal(1),
                                    sums));
            forwardReads.add(positionTable.get());
            backwardWrites.add(dPositionTable.get());
        }
        Optional<Slot> positionSlot = positionTable;
        Optional<Slot> dPositionSlot = dPositionTable;
        double elements = (double) tokens * cols;
        p.pass(
                "forward",
                elements,
                forwardReads,
                List.of(out),
                (k, t) ->
                        k.forward(
                                t.apply(out),
                                t.apply(ids),
                                t.apply(places),
                                t.apply(table),
                                positionSlot.map(t)));
        p.pass(
                "backward",
                elements,
                List.of(dOut, ids, places),
                backwardWrites,
                (k, t) ->
                        k.backward(
                                Optional.of(Grad.accumulate(t.apply(dTable))),
                                dPositionSlot.map(t).map(Grad::accumulate),
                                t.apply(dOut),
                                t.apply(ids),
                                t.apply(places)));
        p.cotangent(out, dOut);
        p.gradient(table, dTable);
        positionTable.ifPresent(slot -> p.gradient(slot, dPositionSlot.orElseThrow()));
        return p;
    }
}
