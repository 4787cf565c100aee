package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * How the rows of a batch divide into sequences that do not see each other.
 *
 * @param cuSeqlens i32 [1,S+1], non-decreasing and starting with 0: rows cuSeqlens[i] to
 *     cuSeqlens[i+1] are sequence i, which may be empty; rows from cuSeqlens[S] on belong to none
 * @param keyMask i32 [1,T], 0 for a key that nobody sees; empty when none is hidden, which is the
 *     fast way on GPUs
 * @param longest no sequence has more rows: known when a plan is made, unlike the lengths
 */
public record PackedSequences(Tensor cuSeqlens, Optional<Tensor> keyMask, long longest) {
    /** S. */
    public long count() {
        return cuSeqlens.cols() - 1;
    }
}
