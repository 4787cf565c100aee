package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

/**
 * Keeps each token to its own adapter in a batch that mixes adapters: the low-rank columns of every
 * other adapter become zero, so that one product serves all. The operation is its own backward.
 */
public interface RowMaskKernel {
    /**
     * u[t,c] = 0 wherever adapterOfColumn[c] ≠ adapterOfRow[t], in place.
     *
     * @param adapterOfRow i32 [1,T]; −1 means no adapter
     */
    void apply(Tensor u, Tensor adapterOfRow, int[] adapterOfColumn);
}
