package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

/**
 * Causal softmax attention over packed sequences (arXiv 2205.14135: the probabilities are never
 * stored).
 *
 * <p>Row t sees row u of its own sequence when u ≤ t, t − u &lt; window (if there is one) and u is
 * not hidden. A row that sees nothing has output zero, gradient zero and lse −∞; so have rows that
 * belong to no sequence.
 */
public interface AttentionKernel {
    /**
     * @param out [T, heads·headDim]
     * @param lse f32 [T, heads]: log of the sum of exponentials of each row's scaled scores
     * @param qkv [T, fusedCols]
     */
    void forward(
            Tensor out, Tensor lse, Tensor qkv, PackedSequences sequences, AttentionShape shape);

    /**
     * dQkv [T, fusedCols], overwritten, from dOut [T, heads·headDim] and what forward read and
     * wrote.
     */
    void backward(
            Tensor dQkv,
            Tensor dOut,
            Tensor out,
            Tensor lse,
            Tensor qkv,
            PackedSequences sequences,
            AttentionShape shape);
}
