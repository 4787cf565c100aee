package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.tensor.Grad;

import java.util.Optional;

/**
 * The gradient of a weight or bias that every row shares: a sum over rows, formed per part in f32
 * over short stretches and in f64 beyond, then added up in the order of the parts. Does nothing
 * when nobody wants the gradient.
 */
final class ColumnSums {
    private static final int STRETCH = 64;

    private final Optional<Grad> target;
    private final int cols;
    private final float[][] near;
    private final double[][] far;
    private final int[] pending;

    ColumnSums(CpuPool pool, Optional<Grad> target, int cols) {
        this.target = target;
        this.cols = cols;
        this.near = new float[pool.threads()][];
        this.far = new double[pool.threads()][];
        this.pending = new int[pool.threads()];
    }

    /** Adds a·b·scale, column by column. */
    void addProduct(int part, float[] a, float[] b, float scale) {
        if (target.isPresent()) {
            float[] sums = open(part);
            for (int i = 0; i < sums.length; i += VectorMath.LANES) {
                FloatVector.fromArray(VectorMath.FLOATS, a, i)
                        .mul(scale)
                        .fma(
                                FloatVector.fromArray(VectorMath.FLOATS, b, i),
                                FloatVector.fromArray(VectorMath.FLOATS, sums, i))
                        .intoArray(sums, i);
            }
            close(part);
        }
    }

    /** Adds a, column by column. */
    void add(int part, float[] a) {
        if (target.isPresent()) {
            float[] sums = open(part);
            Rows.add(sums, 0, a, 0, sums.length);
            close(part);
        }
    }

    /** Stores the sums of all parts. */
    void finish() {
        if (target.isPresent()) {
            double[] total = new double[cols];
            for (int part = 0; part < near.length; part++) {
                if (near[part] != null) {
                    flush(part);
                    for (int i = 0; i < cols; i++) {
                        total[i] += far[part][i];
                    }
                }
            }
            float[] rounded = new float[VectorMath.padded(cols)];
            for (int i = 0; i < cols; i++) {
                rounded[i] = (float) total[i];
            }
            Rows.store(target.get(), 0, 0, rounded, 0, cols, new float[rounded.length]);
        }
    }

    private float[] open(int part) {
        if (near[part] == null) {
            near[part] = new float[VectorMath.padded(cols)];
            far[part] = new double[cols];
        }
        return near[part];
    }

    private void close(int part) {
        if (++pending[part] == STRETCH) {
            flush(part);
        }
    }

    private void flush(int part) {
        float[] from = near[part];
        double[] to = far[part];
        for (int i = 0; i < cols; i++) {
            to[i] += from[i];
            from[i] = 0f;
        }
        pending[part] = 0;
    }
}
