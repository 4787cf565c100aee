package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.RowMaskKernel;
import jlora.runtime.tensor.Tensor;

/** {@link RowMaskKernel} by definition. */
public final class ReferenceRowMask implements RowMaskKernel {
    @Override
    public void apply(Tensor u, Tensor adapterOfRow, int[] adapterOfColumn) {
        for (long t = 0; t < u.rows(); t++) {
            for (int c = 0; c < u.cols(); c++) {
                if (adapterOfColumn[c] != Elements.getInt(adapterOfRow, 0, t)) {
                    Elements.set(u, t, c, 0);
                }
            }
        }
    }
}
