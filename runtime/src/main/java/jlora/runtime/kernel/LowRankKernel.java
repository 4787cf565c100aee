package jlora.runtime.kernel;

import jlora.runtime.kernel.LowRankBorder.Target;
import jlora.runtime.tensor.Tensor;

import java.util.List;
import java.util.Optional;

/**
 * The thin products of a bordered weight (arXiv 2106.09685, equation 3), all of its adapters at
 * once. X [T,K] and dY [T,N] are large and the rank R is small, so what counts is that each of them
 * is read once. For a block with the border columns C, the module's output columns O, dropout p and
 * scale s:
 *
 * <pre>
 *   U[:,C]  = mask∘X/(1−p)·Aᵀ              dU[:,C] = dY[:,O]·(sB)
 *   dB      = s·dY[:,O]ᵀ·U[:,C]            dA      = dU[:,C]ᵀ·(mask∘X)/(1−p)
 *   dX     += mask∘(dU[:,C]·A)/(1−p)       (with dropout; without, the product for dX has this term)
 * </pre>
 *
 * In U and dU, columns that no block owns are zero, and so are, in a batch that mixes adapters,
 * each row's columns of other adapters. Masks are those of {@link Philox#dropoutWords}: the block's
 * stream, and t·K + k as the number of element (t, k) of X. The state rng is i32 [1,3], low and
 * high word of the seed and number of the micro-batch; it is read only where a block drops inputs.
 *
 * <p>X and dY, and with them U and dU, are of one float type; the gradients of A and B are f32.
 */
public interface LowRankKernel {
    /**
     * u[T,R], overwritten, of x[T,K].
     *
     * @param adapterOfRow i32 [1,T]: the adapter of each token where they differ; −1 means none
     */
    void forward(
            Tensor u, Tensor x, LowRankBorder border, Optional<Tensor> adapterOfRow, Tensor rng);

    /**
     * du[T,R], overwritten, and the gradients of B, both from dy[T,N].
     *
     * @param dB of the blocks that are trained: [n,r] each
     * @param u of {@link #forward}; read only where dB is asked for
     */
    void backwardOutput(
            Tensor du,
            List<Target> dB,
            Tensor dy,
            Tensor u,
            LowRankBorder border,
            Optional<Tensor> adapterOfRow);

    /**
     * The gradients of A from du[T,R] and x[T,K].
     *
     * @param dA of the blocks that are trained: [r,K] each
     */
    void backwardA(List<Target> dA, Tensor du, Tensor x, Tensor rng);

    /** dx[T,K] += the low-rank term, where dropout keeps it out of the product for dx. */
    void backwardInputDropout(Tensor dx, Tensor du, LowRankBorder border, Tensor rng);
}
