package jlora.runtime.backend.cpu;

import jlora.runtime.backend.cpu.PooledProducts.Factor;
import jlora.runtime.kernel.LinearCrossEntropyKernel;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Arrays;
import java.util.Optional;

/**
 * {@link LinearCrossEntropyKernel} in chunks: gather rows, multiply, softmax, and while the logits
 * are at hand their gradient and its two products. Losses add up in f64 in the order of the rows.
 */
final class CpuLinearCrossEntropy implements LinearCrossEntropyKernel {
    private static final int NO_TARGET = -100;

    /**
     * Chunks are rounded up to multiples of this many rows with rows of zeros: the number of
     * targets changes from batch to batch, the shapes of products, which are prepared once, should
     * not.
     */
    private static final int ROW_UNIT = 32;

    private final CpuPool pool;
    private final PooledProducts products;

    CpuLinearCrossEntropy(CpuPool pool, Products products) {
        this.pool = pool;
        this.products = new PooledProducts(pool, products);
    }

    /** What to compute besides the loss. */
    private record Gradients(Tensor dx, Optional<Grad> dWeight) {}

    @Override
    public void forward(
            Tensor loss,
            Tensor x,
            Tensor weight,
            Tensor targets,
            Tensor scale,
            float labelSmoothing,
            long mostTargets,
            Workspace workspace) {
        run(
                loss,
                Optional.empty(),
                x,
                weight,
                targets,
                scale,
                labelSmoothing,
                mostTargets,
                workspace);
    }

    @Override
    public void forwardBackward(
            Tensor loss,
            Tensor dx,
            Optional<Grad> dWeight,
            Tensor x,
            Tensor weight,
            Tensor targets,
            Tensor scale,
            float labelSmoothing,
            long mostTargets,
            Workspace workspace) {
        Gradients gradients = new Gradients(dx, dWeight);
        run(
                loss,
                Optional.of(gradients),
                x,
                weight,
                targets,
                scale,
                labelSmoothing,
                mostTargets,
                workspace);
    }

    private void run(
            Tensor loss,
            Optional<Gradients> gradients,
            Tensor x,
            Tensor weight,
            Tensor targets,
            Tensor scale,
            float labelSmoothing,
            long mostTargets,
            Workspace workspace) {
        int[] trained = trained(targets, x.rows(), weight.rows(), mostTargets);
        gradients.ifPresent(g -> clearOthers(g.dx(), trained));
        int chunk = Math.toIntExact(workspace.rows().rows());
        double total = 0;
        for (int from = 0; from < trained.length || from == 0; from += chunk) {
            int[] rows = Arrays.copyOfRange(trained, from, Math.min(from + chunk, trained.length));
            int padded = Math.min(chunk, (rows.length + ROW_UNIT - 1) / ROW_UNIT * ROW_UNIT);
            Tensor inputs = gather(workspace.rows().rows(0, padded), x, rows);
            Tensor logits = workspace.logits().rows(0, padded);
            products.multiply(
                    logits, Factor.plain(inputs), Factor.transposed(weight), Optional.empty());
            Tensor dLogits = workspace.dLogits().rows(0, padded);
            total +=
                    losses(
                            logits,
                            gradients.map(g -> dLogits),
                            targets,
                            rows,
                            labelSmoothing,
                            scale);
            if (gradients.isPresent()) {
                boolean first = from == 0;
                backward(gradients.get(), first, x, weight, inputs, dLogits, rows, workspace);
            }
        }
        Rows.setF32(loss, 0, 0, (float) total);
    }

    /** The rows that have a target. */
    private static int[] trained(Tensor targets, long rows, long vocabulary, long most) {
        int[] trained = new int[Math.toIntExact(rows)];
        int count = 0;
        for (int t = 0; t < rows; t++) {
            int target = Rows.i32(targets, t);
            if (target == NO_TARGET) {
                continue;
            }
            if (target < 0 || target >= vocabulary) {
                throw new IllegalArgumentException(
                        "row " + t + " has target " + target + " in a vocabulary of " + vocabulary);
            }
            trained[count++] = t;
        }
        if (count > most) {
            throw new IllegalArgumentException(
                    count + " rows have targets, where at most " + most + " were promised");
        }
        return Arrays.copyOf(trained, count);
    }

    private static void clearOthers(Tensor dx, int[] trained) {
        int next = 0;
        for (int t = 0; t < dx.rows(); t++) {
            if (next < trained.length && trained[next] == t) {
                next++;
            } else {
                Rows.clear(dx, t);
            }
        }
    }

    private Tensor gather(Tensor to, Tensor x, int[] rows) {
        int cols = Math.toIntExact(x.cols());
        pool.run(
                to.rows(),
                Rows.grain(cols),
                (part, from, end) -> {
                    float[] row = new float[VectorMath.padded(cols)];
                    for (long r = from; r < end; r++) {
                        if (r < rows.length) {
                            Rows.load(row, 0, x, rows[(int) r]);
                            Rows.store(to, r, row, 0);
                        } else {
                            Rows.clear(to, r);
                        }
                    }
                });
        return to;
    }

    private double losses(
            Tensor logits,
            Optional<Tensor> dLogits,
            Tensor targets,
            int[] rows,
            float labelSmoothing,
            Tensor scale) {
        double[] losses = new double[rows.length];
        pool.run(
                logits.rows(),
                1,
                (part, from, end) -> {
                    var row = new CrossEntropyRow((int) logits.cols(), labelSmoothing);
                    for (int r = (int) from; r < end; r++) {
                        if (r < rows.length) {
                            int target = Rows.i32(targets, rows[r]);
                            var result = row.loss(logits, r, target, dLogits.isPresent());
                            float factor = Rows.f32(scale, 0, rows[r]);
                            losses[r] = factor * result.loss();
                            if (dLogits.isPresent()) {
                                row.gradient(dLogits.get(), logits, r, target, result, factor);
                            }
                        } else if (dLogits.isPresent()) {
                            Rows.clear(dLogits.get(), r);
                        }
                    }
                });
        double total = 0;
        for (double loss : losses) {
            total += loss;
        }
        return total;
    }

    private void backward(
            Gradients gradients,
            boolean first,
            Tensor x,
            Tensor weight,
            Tensor inputs,
            Tensor dLogits,
            int[] rows,
            Workspace workspace) {
        Tensor dRows = workspace.dRows().rows(0, inputs.rows());
        products.multiply(dRows, Factor.plain(dLogits), Factor.plain(weight), 1f, false);
        Tensor dx = gradients.dx();
        int cols = Math.toIntExact(x.cols());
        pool.run(
                rows.length,
                Rows.grain(cols),
                (part, from, end) -> {
                    float[] row = new float[VectorMath.padded(cols)];
                    for (long r = from; r < end; r++) {
                        Rows.load(row, 0, dRows, r);
                        Rows.store(dx, rows[(int) r], row, 0);
                    }
                });
        gradients
                .dWeight()
                .ifPresent(
                        grad ->
                                products.multiply(
                                        grad.tensor(),
                                        Factor.transposed(dLogits),
                                        Factor.plain(inputs),
                                        1f,
                                        grad.accumulate() || !first));
    }
}
