package jlora.runtime.backend.cpu.reference;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Kernels;
import jlora.runtime.cases.Conformance;
import jlora.runtime.cases.FiniteDifferences;
import jlora.runtime.cases.OpCase;
import jlora.runtime.cases.OpStem;
import jlora.runtime.cases.OpStems;

import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import java.lang.reflect.RecordComponent;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.Set;
import java.util.stream.Stream;

/**
 * The reference writes all of its results and nothing else, and its gradients are those of its
 * forward passes.
 */
@Execution(ExecutionMode.CONCURRENT)
final class ReferenceBackendTest {
    private static final ReferenceBackend BACKEND = new ReferenceBackend();

    @Execution(ExecutionMode.SAME_THREAD)
    @TestFactory
    Stream<DynamicContainer> writesItsResultsAndNothingElse() {
        return Conformance.of(BACKEND);
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void everyKernelOfTheContractHasCases() throws ReflectiveOperationException {
        Set<Object> withCases = Collections.newSetFromMap(new IdentityHashMap<>());
        OpStems.ALL.forEach(stem -> withCases.add(stem.kernel().apply(BACKEND.kernels())));
        for (RecordComponent op : Kernels.class.getRecordComponents()) {
            assertTrue(
                    withCases.contains(op.getAccessor().invoke(BACKEND.kernels())), op.getName());
        }
        assertEquals(OpStems.ALL.size(), withCases.size());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @TestFactory
    Stream<DynamicTest> gradientsAreThoseOfDifferences() {
        return OpStems.ALL.stream().flatMap(ReferenceBackendTest::differences);
    }

    private static <K> Stream<DynamicTest> differences(OpStem<K> stem) {
        return stem.cases().get().stream()
                .filter(opCase -> FiniteDifferences.applyTo(opCase.problem()))
                .map(opCase -> difference(stem, opCase));
    }

    private static <K> DynamicTest difference(OpStem<K> stem, OpCase<K> opCase) {
        return DynamicTest.dynamicTest(
                stem.name() + " " + opCase,
                () -> FiniteDifferences.check(opCase, stem.kernel().apply(BACKEND.kernels())));
    }
}
