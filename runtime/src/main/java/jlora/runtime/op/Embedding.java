package jlora.runtime.op;

import jlora.runtime.plan.Step;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Records token (and learned position) embeddings; see {@link
 * jlora.runtime.kernel.EmbeddingKernel}.
 */
public final class Embedding {
    private Embedding() {}

    /**
     * @param ids i32 [1,T]
     * @param positions i32 [1,T]
     * @return [T,C]
     */
    public static Tensor apply(
            Trace trace,
            Tensor ids,
            Tensor positions,
            Tensor table,
            Optional<Tensor> positionTable) {
        Check.type("embedding", ids, DType.I32);
        Check.shape("embedding", positions, 1, ids.cols());
        positionTable.ifPresent(p -> Check.cols("embedding", p, table.cols()));
        Tensor out = trace.activation("embedding", ids.cols(), table.cols());
        List<Tensor> reads = new ArrayList<>(List.of(ids, positions, table));
        positionTable.ifPresent(reads::add);
        // Of a table, the rows of the batch alone are read.
        long indices = (positionTable.isPresent() ? 2 : 1) * ids.cols() * DType.I32.bytes();
        trace.step(
                Step.of(
                                "embedding",
                                reads,
                                List.of(out),
                                k ->
                                        k.embedding()
                                                .forward(out, ids, positions, table, positionTable))
                        .moves(
                                indices
                                        + rows(out)
                                        + rows(out) * (positionTable.isPresent() ? 2 : 1)));
        List<Tensor> inputs = new ArrayList<>(List.of(table));
        positionTable.ifPresent(inputs::add);
        trace.backward(
                inputs,
                List.of(out),
                g -> {
                    Tensor dOut = g.of(out);
                    var dTable = g.parameter(table);
                    var dPositions = positionTable.flatMap(g::parameter);
                    List<Tensor> writes = new ArrayList<>();
                    dTable.ifPresent(d -> writes.add(d.tensor()));
                    dPositions.ifPresent(d -> writes.add(d.tensor()));
                    g.step(
                            Step.of(
                                            "embedding.backward",
                                            List.of(dOut, ids, positions),
                                            writes,
                                            k ->
                                                    k.embedding()
                                                            .backward(
                                                                    dTable,
                                                                    dPositions,
                                                                    dOut,
                                                                    ids,
                                                                    positions))
                                    // Rows of a target are read and written: it adds.
                                    .moves(
                                            indices
                                                    + rows(dOut)
                                                    + 2
                                                            * writes.size()
                                                            * dOut.elements()
                                                            * DType.F32.bytes()));
                });
        return out;
    }

    private static long rows(Tensor t) {
        return t.elements() * t.dtype().bytes();
    }
}
