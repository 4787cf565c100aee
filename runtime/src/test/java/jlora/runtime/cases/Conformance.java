package jlora.runtime.cases;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;

import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicTest;

import java.util.List;
import java.util.stream.Stream;

/** The op cases as JUnit tests; return them from a {@code @TestFactory} method. */
public final class Conformance {
    private static final ReferenceBackend REFERENCE = new ReferenceBackend();

    /** Names of stems, separated by commas: only these are run while an op is being written. */
    private static final String ONLY = System.getProperty("jlora.ops", "");

    private Conformance() {}

    /** Every case of every op, and the backend's copies. */
    public static Stream<DynamicContainer> of(Backend backend) {
        DynamicContainer memory =
                DynamicContainer.dynamicContainer(
                        "memory",
                        Stream.of(
                                DynamicTest.dynamicTest(
                                        "copies strided views", () -> MemoryCheck.check(backend))));
        return Stream.concat(
                Stream.of(memory),
                OpStems.ALL.stream()
                        .filter(
                                stem ->
                                        ONLY.isEmpty()
                                                || List.of(ONLY.split(",")).contains(stem.name()))
                        .map(stem -> container(stem, backend)));
    }

    private static <K> DynamicContainer container(OpStem<K> stem, Backend backend) {
        K kernel = stem.kernel().apply(backend.kernels());
        return DynamicContainer.dynamicContainer(stem.name(), of(stem, kernel, backend));
    }

    /** Every case of one op, for a kernel that works in host memory. */
    public static <K> Stream<DynamicTest> of(OpStem<K> stem, K kernel) {
        return of(stem, kernel, REFERENCE);
    }

    /** Every case of one op, for a kernel that works in the memory of a backend. */
    public static <K> Stream<DynamicTest> of(OpStem<K> stem, K kernel, Backend memory) {
        K reference = stem.kernel().apply(REFERENCE.kernels());
        List<? extends OpCase<K>> cases = stem.cases().get();
        return cases.stream()
                .map(
                        opCase ->
                                DynamicTest.dynamicTest(
                                        opCase.toString(),
                                        () -> Agreement.check(opCase, kernel, memory, reference)));
    }
}
