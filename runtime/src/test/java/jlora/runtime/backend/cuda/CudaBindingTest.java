package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.ProductTiming;
import jlora.runtime.cases.Conformance;
import jlora.runtime.cases.OpStem;
import jlora.runtime.cases.OpStems;
import jlora.runtime.tensor.DType;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Stream;

/** The backend over JCuda and JCublas, on the emulator. */
final class CudaBindingTest {
    private static final int ALLOC_FAILED = 3;
    private static final int INTERNAL_ERROR = 14;

    @TempDir private static Path cache;
    private Emulator emulator;

    @BeforeEach
    void open() {
        emulator = Emulator.open();
    }

    /** Structures by value, whose sizes JCuda does not know. */
    @TestFactory
    Stream<DynamicTest> lowRankProductsAgreeWithTheReference() {
        return conformance(OpStems.LOW_RANK);
    }

    /** With and without a bias. */
    @TestFactory
    Stream<DynamicTest> productsAgreeWithTheReference() {
        return conformance(OpStems.LINEAR);
    }

    private <K> Stream<DynamicTest> conformance(OpStem<K> stem) {
        CudaBackend backend = emulator.backend(CudaBinding.JCUDA, cache);
        return Conformance.of(stem, stem.kernel().apply(backend.kernels()), backend)
                .onClose(backend::close);
    }

    @ParameterizedTest
    @CsvSource({
        "cublasCreate_v2, GPU_FAULT",
        "cublasGetVersion_v2, GPU_FAULT",
        "cublasSetStream_v2, GPU_FAULT",
        "cublasSetWorkspace_v2, GPU_FAULT",
        "cublasGemmEx, GPU_FAULT",
        "cublasGemmEx, OUT_OF_MEMORY",
    })
    void aRefusedCallIsNamedAndNothingStays(String call, ExitCode exit) {
        Map<ExitCode, Integer> codes =
                Map.of(ExitCode.GPU_FAULT, INTERNAL_ERROR, ExitCode.OUT_OF_MEMORY, ALLOC_FAILED);
        Emulator.Live before = emulator.live();
        try {
            emulator.fail(call, 1, codes.get(exit));
            JloraException failure = assertThrows(JloraException.class, this::timeAProduct);
            assertEquals(exit, failure.exitCode(), failure.getMessage());
            String name = call.replace("_v2", "");
            boolean named = failure.getMessage().contains(name + " ");
            assertTrue(named || exit == ExitCode.OUT_OF_MEMORY, failure.getMessage());
        } finally {
            emulator.fail("", 0, 0);
        }
        assertEquals(before, emulator.live());
    }

    private void timeAProduct() {
        try (CudaBackend backend = emulator.backend(CudaBinding.JCUDA, cache)) {
            ProductTiming.Shape shape = new ProductTiming.Shape(8, 16, 24, 8, DType.BF16);
            ProductTiming.measure(backend, shape, ProductTiming.Product.values()[0]);
        }
    }
}
