package jlora.runtime.backend.cpu;

import jlora.runtime.backend.cpu.PooledProducts.Factor;
import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/** {@link LinearKernel} by the backend's matrix products. */
final class CpuLinear implements LinearKernel {
    private final CpuPool pool;
    private final PooledProducts products;

    CpuLinear(CpuPool pool, Products products) {
        this.pool = pool;
        this.products = new PooledProducts(pool, products);
    }

    @Override
    public void forward(Tensor out, Tensor x, Tensor weight, Optional<Tensor> bias) {
        products.multiply(out, Factor.plain(x), Factor.transposed(weight), bias);
    }

    @Override
    public void backwardInput(Grad dx, Tensor dOut, Tensor weight) {
        products.multiply(
                dx.tensor(), Factor.plain(dOut), Factor.plain(weight), 1f, dx.accumulate());
    }

    @Override
    public void backwardWeight(Grad dWeight, Tensor dOut, Tensor x, float scale) {
        products.multiply(
                dWeight.tensor(),
                Factor.transposed(dOut),
                Factor.plain(x),
                scale,
                dWeight.accumulate());
    }

    @Override
    public void backwardBias(Grad dBias, Tensor dOut) {
        int cols = Math.toIntExact(dOut.cols());
        ColumnSums sums = new ColumnSums(pool, Optional.of(dBias), cols);
        pool.run(
                dOut.rows(),
                Rows.grain(cols),
                (part, from, to) -> {
                    float[] row = new float[VectorMath.padded(cols)];
                    for (long r = from; r < to; r++) {
                        Rows.load(row, 0, dOut, r);
                        sums.add(part, row);
                    }
                });
        sums.finish();
    }
}
