package jlora.runtime.weight;

import jlora.runtime.plan.Expansion;
import jlora.runtime.plan.Step;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.List;

/**
 * A frozen matrix [N,K] that memory holds in a smaller form or elsewhere, and the scratch in which
 * it is whole while it is used.
 */
abstract class ExpandedMatrix {
    private final Tensor scratch;
    private final Storage resident;
    private final long weightBytes;
    private final boolean inHostMemory;

    /**
     * @param scratch at least N rows and what lies below them, with pads behind the K columns
     * @param resident what stays for the whole run
     * @param weightBytes bytes of W in it
     * @param inHostMemory where that stays: true for memory of the host
     */
    ExpandedMatrix(Tensor scratch, Storage resident, long weightBytes, boolean inHostMemory) {
        this.scratch = scratch;
        this.resident = resident;
        this.weightBytes = weightBytes;
        this.inHostMemory = inHostMemory;
    }

    final Tensor scratch() {
        return scratch;
    }

    final Storage resident() {
        return resident;
    }

    final long weightBytes() {
        return weightBytes;
    }

    final boolean inHostMemory() {
        return inHostMemory;
    }

    /** What is kept of the rows {@code from .. from + count}, which a checkpoint's tensor is. */
    abstract Held held(long from, long count);

    /**
     * @param finish what makes the scratch complete once W is in it
     */
    abstract Expansion expansion(List<Step> finish);

    static long bytes(Tensor tensor) {
        return tensor.elements() * tensor.dtype().bytes();
    }
}
