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
interface ExpandedMatrix {
    /** In scratch: at least N rows and what lies below them, with pads behind the K columns. */
    Tensor scratch();

    /** What stays for the whole run. */
    Storage resident();

    /** Where that stays: true for memory of the host. */
    boolean inHostMemory();

    /** Bytes of W in it. */
    long weightBytes();

    /** What is kept of the rows {@code from .. from + count}, which a checkpoint's tensor is. */
    Held held(long from, long count);

    /**
     * @param finish what makes the scratch complete once W is in it
     */
    Expansion expansion(List<Step> finish);
}
