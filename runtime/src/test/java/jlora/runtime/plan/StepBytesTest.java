package jlora.runtime.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.runtime.op.Embedding;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.Test;

import java.util.List;
import java.util.Optional;

/** Bytes that steps say they move and touch, against counts by hand. */
class StepBytesTest {
    private static Tensor tensor(DType dtype, long rows, long cols) {
        return Tensor.dense("t", Storage.Role.WEIGHT, dtype, rows, cols);
    }

    private static Step step(List<Tensor> reads, List<Tensor> writes) {
        return Step.of("op", reads, writes, _ -> {});
    }

    @Test
    void everyOperandCountsOnceForEachTimeItIsReadOrWritten() {
        Tensor a = tensor(DType.F32, 4, 8);
        Tensor b = tensor(DType.BF16, 4, 8);
        assertEquals(128 + 64, step(List.of(a), List.of(b)).bytes());
        assertEquals(128 + 64, step(List.of(a), List.of(b)).operandBytes());
        Step inPlace = step(List.of(a, b), List.of(a));
        assertEquals(128 + 64 + 128, inPlace.bytes());
        assertEquals(128 + 64, inPlace.operandBytes());
    }

    @Test
    void viewsOfOneStorageTouchNoMoreThanAllOfIt() {
        Tensor rows = Tensor.padded("x", Storage.Role.ACTIVATION, DType.F32, 10, 6, 2);
        Step apart = step(List.of(rows), List.of(rows.columns(6, 2)));
        assertEquals(10 * 8 * 4, apart.operandBytes());
        Step overlapping = step(List.of(rows, rows.columns(0, 8)), List.of(rows.columns(6, 2)));
        assertEquals(10 * (6 + 8 + 2) * 4, overlapping.bytes());
        assertEquals(10 * 8 * 4, overlapping.operandBytes());
    }

    @Test
    void whatAStepSaysItMovesWins() {
        Step step = step(List.of(tensor(DType.F32, 1000, 8)), List.of()).moves(96);
        assertEquals(96, step.bytes());
        assertEquals(96, step.operandBytes());
        assertEquals(96, step.flops(7).markCheap().withReplay(step).bytes());
    }

    @Test
    void anEmbeddingReadsTheRowsOfItsTokensAndNotTheTable() {
        Tensor table = tensor(DType.BF16, 5000, 16);
        Tensor positionTable = tensor(DType.BF16, 64, 16);
        Tensor ids = Tensor.dense("ids", Storage.Role.INPUT, DType.I32, 1, 12);
        Tensor positions = Tensor.dense("positions", Storage.Role.INPUT, DType.I32, 1, 12);
        Trace llama = Trace.inference(DType.BF16);
        Embedding.apply(llama, ids, positions, table, Optional.empty());
        // ids, one row of 16 bf16 for each, and the same written
        assertEquals(12 * 4 + 2 * 12 * 16 * 2, only(llama).bytes());
        Trace gpt2 = Trace.inference(DType.BF16);
        Embedding.apply(gpt2, ids, positions, table, Optional.of(positionTable));
        assertEquals(2 * 12 * 4 + 3 * 12 * 16 * 2, only(gpt2).bytes());
    }

    private static Step only(Trace trace) {
        List<Step> steps = trace.finish().steps();
        assertEquals(1, steps.size());
        return steps.getFirst();
    }
}
