package jlora.runtime.backend.cpu.reference;

import jlora.runtime.backend.Kernels;
import jlora.runtime.backend.cpu.HostBackend;

/**
 * What every kernel means: scalar loops over double accumulators, each result rounded once. Slow,
 * and the measure that every other backend is held against.
 */
public final class ReferenceBackend extends HostBackend {
    private final Kernels kernels =
            new Kernels(
                    new ReferenceLinear(),
                    new ReferenceLowRank(),
                    new ReferenceEmbedding(),
                    new ReferenceRmsNorm(),
                    new ReferenceLayerNorm(),
                    new ReferenceRope(),
                    new ReferenceAttention(),
                    new ReferenceCachedAttention(),
                    new ReferenceSwiglu(),
                    new ReferenceGelu(),
                    new ReferenceLinearCrossEntropy(),
                    new ReferenceGradNorm(),
                    new ReferenceAdamW(),
                    new ReferencePublish(),
                    new ReferenceRandomFill(),
                    new ReferenceMerge(),
                    new ReferenceFourBit(),
                    new ReferenceFp8());

    @Override
    public String describe() {
        return "reference (scalar loops, double accumulators, one thread)";
    }

    @Override
    public Kernels kernels() {
        return kernels;
    }

    @Override
    public void close() {}
}
