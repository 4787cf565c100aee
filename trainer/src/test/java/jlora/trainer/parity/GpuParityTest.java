package jlora.trainer.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cuda.GpuUnderTest;
import jlora.runtime.tensor.DType;
import jlora.trainer.job.CudaRuns;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

import java.util.List;

/** Whole runs on a GPU: those that Transformers + PEFT recorded, and the same run twice. */
@EnabledIfSystemProperty(
        named = GpuUnderTest.PROPERTY,
        matches = "cuda:\\d+",
        disabledReason = GpuUnderTest.NONE)
class GpuParityTest {
    private static Backend backend;

    @BeforeAll
    static void open() {
        backend = GpuUnderTest.open();
    }

    @AfterAll
    static void close() {
        if (backend != null) {
            backend.close();
        }
    }

    @ParameterizedTest
    @MethodSource("jlora.trainer.parity.ParityTest#cases")
    void trainsAsPeftDoes(String name) {
        ParityTest.check(name, backend);
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void twoRunsGiveTheSameBits(DType dtype) {
        String type = "dtype=" + dtype.torchName();
        List<Object> first = CudaRuns.bits(CudaRuns.config(type), backend);
        assertEquals(first, CudaRuns.bits(CudaRuns.config(type), backend));
    }
}
