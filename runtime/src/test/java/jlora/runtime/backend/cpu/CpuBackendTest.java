package jlora.runtime.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.cases.Conformance;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.stream.Stream;

/** The CPU backend as a whole, with each product library, agrees with the reference. */
@Execution(ExecutionMode.CONCURRENT)
final class CpuBackendTest {
    private static final List<CpuBackend> BACKENDS =
            Stream.of(
                            new CpuOptions(1, ProductLibrary.VECTOR),
                            new CpuOptions(2, ProductLibrary.ONEDNN),
                            new CpuOptions(3, ProductLibrary.AUTO))
                    .map(CpuBackend::new)
                    .toList();

    @AfterAll
    static void close() {
        BACKENDS.forEach(CpuBackend::close);
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @TestFactory
    Stream<DynamicContainer> agreesWithTheReference() {
        return BACKENDS.stream()
                .map(
                        backend ->
                                DynamicContainer.dynamicContainer(
                                        backend.describe(), Conformance.of(backend)));
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void saysWhatItRunsOn() {
        assertTrue(BACKENDS.get(0).describe().contains(", 1 thread, "));
        assertTrue(BACKENDS.get(0).describe().contains("Vector API"));
        assertTrue(BACKENDS.get(1).describe().contains("oneDNN 3."), BACKENDS.get(1).describe());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void copiesRowsOfViews() {
        CpuBackend backend = BACKENDS.get(1);
        var storage = new Storage("t", Storage.Role.INPUT, 4 * 20);
        Tensor view = new Tensor("t", storage, DType.I32, 2, 3, 4, 8);
        try (var arena = backend.allocate("test", 256)) {
            arena.place(storage, 0);
            int[] values = {1, 2, 3, 4, 5, 6};
            backend.upload(view, MemorySegment.ofArray(values));
            assertEquals(6, Rows.i32(view.rows(1, 1), 2));
            int[] back = new int[6];
            backend.download(MemorySegment.ofArray(back), view);
            assertEquals(List.of(1, 2, 3, 4, 5, 6), java.util.Arrays.stream(back).boxed().toList());
        }
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void refusesOptionsThatCannotBe() {
        var threads =
                assertThrows(JloraException.class, () -> new CpuOptions(0, ProductLibrary.AUTO));
        assertEquals(ExitCode.USAGE, threads.exitCode());
        var name = assertThrows(JloraException.class, () -> ProductLibrary.of("mkl"));
        assertEquals(
                "unknown product library 'mkl': use one of [auto, onednn, vector]",
                name.getMessage());
    }
}
