package jlora.runtime.backend.cpu;

import jlora.runtime.cases.Conformance;
import jlora.runtime.cases.OpStem;
import jlora.runtime.cases.OpStems;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import java.util.List;
import java.util.stream.Stream;

/** The vector kernels agree with the reference, whatever the number of threads. */
@Execution(ExecutionMode.CONCURRENT)
final class CpuKernelsTest {
    private static final List<CpuPool> POOLS =
            List.of(new CpuPool(1), new CpuPool(3)); // with 2, all of CpuBackendTest runs
    private static final Products PRODUCTS = new PlainProducts();

    private interface Kernels<K> {
        K of(CpuPool pool);
    }

    @AfterAll
    static void close() {
        POOLS.forEach(CpuPool::close);
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @TestFactory
    Stream<DynamicContainer> agreeWithTheReference() {
        return Stream.of(
                        cases(OpStems.LOW_RANK, pool -> new CpuLowRank(pool, PRODUCTS)),
                        // Scratch for one or a few rows.
                        cases(OpStems.LOW_RANK, pool -> new CpuLowRank(pool, PRODUCTS, 400)),
                        cases(OpStems.EMBEDDING, CpuEmbedding::new),
                        cases(OpStems.RMS_NORM, CpuRmsNorm::new),
                        cases(OpStems.LAYER_NORM, CpuLayerNorm::new),
                        cases(OpStems.ROPE, CpuRope::new),
                        cases(OpStems.ATTENTION, pool -> new CpuAttention(pool, PRODUCTS)),
                        cases(
                                OpStems.CACHED_ATTENTION,
                                pool -> new CpuCachedAttention(pool, PRODUCTS)),
                        cases(OpStems.SWIGLU, CpuSwiglu::new),
                        cases(OpStems.GELU, CpuGelu::new),
                        cases(OpStems.GRAD_NORM, CpuGradNorm::new),
                        cases(OpStems.ADAMW, CpuAdamW::new),
                        cases(OpStems.PUBLISH, CpuPublish::new),
                        cases(OpStems.RANDOM_FILL, CpuRandomFill::new),
                        cases(OpStems.MERGE, CpuMerge::new),
                        cases(OpStems.FOUR_BIT, pool -> new CpuFourBit(pool, true)),
                        cases(OpStems.FOUR_BIT, pool -> new CpuFourBit(pool, false)),
                        cases(OpStems.FP8, pool -> new CpuFp8(pool, PRODUCTS)))
                .flatMap(stream -> stream);
    }

    private static <K> Stream<DynamicContainer> cases(OpStem<K> stem, Kernels<K> kernels) {
        return POOLS.stream()
                .map(
                        pool ->
                                DynamicContainer.dynamicContainer(
                                        stem.name() + ", " + pool.threads() + " threads",
                                        Conformance.of(stem, kernels.of(pool))));
    }
}
