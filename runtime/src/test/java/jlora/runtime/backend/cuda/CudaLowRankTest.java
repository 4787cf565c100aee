package jlora.runtime.backend.cuda;

import jlora.runtime.cases.Conformance;
import jlora.runtime.cases.OpStems;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

import java.util.stream.Stream;

/**
 * Low-rank products with so little scratch that rows of dY are worked on a few at a time and no
 * gradient is cut: what long batches and large vocabularies do with all of it.
 */
final class CudaLowRankTest {
    private static final long SCRATCH_BYTES = 64 << 10;

    private static CudaBackend backend;

    @BeforeAll
    static void open() {
        backend = Emulator.open().backend();
    }

    @AfterAll
    static void close() {
        if (backend != null) {
            backend.close();
        }
    }

    @TestFactory
    Stream<DynamicTest> agreesWithTheReference() {
        CudaLowRank kernel = new CudaLowRank(backend.launches(), SCRATCH_BYTES);
        return Conformance.of(OpStems.LOW_RANK, kernel, backend);
    }
}
