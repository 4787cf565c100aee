package jlora.runtime.plan;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.util.List;

class TraceTest {
    private final Trace trace = Trace.inference(DType.F32);

    private static Step step(List<Tensor> reads, List<Tensor> writes) {
        return Step.of("op", reads, writes, backend -> {});
    }

    private static String refusal(Trace trace, Step step) {
        return assertThrows(IllegalStateException.class, () -> trace.step(step)).getMessage();
    }

    @Test
    void refusesToReadWhatNothingHasWritten() {
        Tensor a = trace.activation("a", 4, 8);
        assertEquals(
                "op reads a [4, 8] float32 before it is written",
                refusal(trace, step(List.of(a), List.of(trace.activation("b", 4, 8)))));
    }

    @Test
    void refusesToReadColumnsBesideThoseWritten() {
        Tensor a = trace.activation("a", DType.F32, 4, 8, 3, 0);
        trace.step(step(List.of(), List.of(a)));
        Tensor out = trace.activation("b", 4, 8);
        Tensor pad = a.columns(8, 3);
        refusal(trace, step(List.of(pad), List.of(out)));
        refusal(trace, step(List.of(a.columns(0, 11)), List.of(out)));
        trace.step(step(List.of(a), List.of(pad)));
        assertDoesNotThrow(() -> trace.step(step(List.of(a.columns(0, 11)), List.of(out))));
    }

    @Test
    void refusesAGapBetweenWrittenColumns() {
        Tensor a = trace.activation("a", 4, 8);
        trace.step(step(List.of(), List.of(a.columns(0, 3))));
        trace.step(step(List.of(), List.of(a.columns(4, 4))));
        Tensor out = trace.activation("b", 4, 8);
        refusal(trace, step(List.of(a), List.of(out)));
        trace.step(step(List.of(), List.of(a.columns(3, 1))));
        assertDoesNotThrow(() -> trace.step(step(List.of(a), List.of(out))));
    }

    @ParameterizedTest
    @EnumSource(
            value = Storage.Role.class,
            names = {"CONSTANT", "INPUT"})
    void refusesToWriteWhatIsReadOnly(Storage.Role role) {
        Tensor fixed = Tensor.dense("fixed", role, DType.F32, 1, 8);
        assertEquals(
                "op writes the read-only fixed [1, 8] float32",
                refusal(trace, step(List.of(), List.of(fixed))));
    }

    @Test
    void readsWhatOutlivesPlansWithoutAWrite() {
        Tensor weight = Tensor.dense("w", Storage.Role.WEIGHT, DType.F32, 4, 8);
        Tensor out = trace.activation("b", 4, 8);
        trace.step(step(List.of(weight), List.of(out)));
        assertEquals(MemoryArena.ALIGNMENT, trace.finish().arenaBytes());
    }

    @Test
    void recordsNoBackwardOfWhatLeadsToNothingTrained() {
        Tensor frozen = Tensor.dense("w", Storage.Role.WEIGHT, DType.F32, 4, 8);
        Trace training = Trace.training(DType.F32, java.util.Map.of());
        Tensor out = training.activation("b", 4, 8);
        training.step(step(List.of(frozen), List.of(out)));
        training.backward(
                List.of(frozen), List.of(out), g -> g.step(step(List.of(out), List.of())));
        training.given(out, out);
        assertTrue(!training.needsGradient(out));
        assertEquals(1, training.finish().steps().size());
    }
}
