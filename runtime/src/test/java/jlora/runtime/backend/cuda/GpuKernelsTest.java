package jlora.runtime.backend.cuda;

import jlora.runtime.cases.Conformance;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;

import java.util.stream.Stream;

/** The CUDA kernels agree with the reference, on a GPU. */
@EnabledIfSystemProperty(
        named = GpuUnderTest.PROPERTY,
        matches = "cuda:\\d+",
        disabledReason = GpuUnderTest.NONE)
class GpuKernelsTest {
    private static CudaBackend backend;

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

    @TestFactory
    Stream<DynamicContainer> agreeWithTheReference() {
        return Conformance.of(backend);
    }
}
