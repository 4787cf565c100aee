package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * Causal softmax attention over packed sequences (arXiv 2205.14135: the probabilities are never
 * stored).
 *
 * <p>Sequences: {@code cuSeqlens} i32 [1,S+1] is non-decreasing and starts with 0; rows
 * cuSeqlens[i] to cuSeqlens[i+1] are sequence i, which may be empty; rows from cuSeqlens[S] on
 * belong to none: their outputs and gradients are zero. Row t sees row u of its own sequence when u
 * ≤ t, t − u &lt; window (if there is one) and keyMask[u] ≠ 0 (if there is a mask). A row that sees
 * nothing has output zero, gradient zero and lse −∞.
 */
public interface AttentionKernel {
    /**
     * @param out [T, heads·headDim]
     * @param lse f32 [T, heads]: log of the sum of exponentials of each row's scaled scores
     * @param qkv [T, fusedCols]
     * @param keyMask i32 [1,T]; empty when no key is hidden, which is the fast way on GPUs
     */
    void forward(
            Tensor out,
            Tensor lse,
            Tensor qkv,
            Tensor cuSeqlens,
            Optional<Tensor> keyMask,
            AttentionShape shape);

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
            Tensor cuSeqlens,
            Optional<Tensor> keyMask,
            AttentionShape shape);
}
