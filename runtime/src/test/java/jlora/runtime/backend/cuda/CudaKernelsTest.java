package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.runtime.cases.Conformance;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicNode;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

import java.util.stream.Stream;

/**
 * The CUDA kernels agree with the reference, run by the emulator: in the usual order of threads and
 * in the opposite one, which shows barriers that are missing. Every case leaves the guard words
 * around device memory whole, and nothing behind.
 */
final class CudaKernelsTest {
    private static Emulator emulator;
    private static CudaBackend backend;

    @BeforeAll
    static void open() {
        emulator = Emulator.open();
        backend = emulator.backend();
    }

    @AfterAll
    static void close() {
        if (backend != null) {
            backend.close();
        }
    }

    @TestFactory
    Stream<DynamicContainer> agreeWithTheReference() {
        return Conformance.of(backend).map(container -> checked(container, false));
    }

    @TestFactory
    Stream<DynamicContainer> agreeWithThreadsInReversedOrder() {
        return Conformance.of(backend).map(container -> checked(container, true));
    }

    private static DynamicContainer checked(DynamicContainer container, boolean reversed) {
        return DynamicContainer.dynamicContainer(
                container.getDisplayName(),
                container.getChildren().map(node -> checked(node, reversed)));
    }

    private static DynamicNode checked(DynamicNode node, boolean reversed) {
        if (node instanceof DynamicContainer container) {
            return checked(container, reversed);
        }
        DynamicTest test = (DynamicTest) node;
        return DynamicTest.dynamicTest(
                test.getDisplayName(),
                () -> {
                    Emulator.Live before = emulator.live();
                    emulator.reverse(reversed);
                    try {
                        test.getExecutable().execute();
                    } finally {
                        emulator.reverse(false);
                    }
                    assertEquals("", emulator.brokenGuards());
                    assertEquals(before.allocations(), emulator.live().allocations());
                });
    }
}
