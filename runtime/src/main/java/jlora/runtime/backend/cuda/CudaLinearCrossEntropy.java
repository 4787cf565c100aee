package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.kernel.LinearCrossEntropyKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * {@link LinearCrossEntropyKernel} in chunks: logits by a product, losses and the gradient of the
 * logits by one kernel, then their products. Which rows have a target only the device knows, and
 * the work must be the same for every batch; so either all rows are computed where they lie, or,
 * where fewer are promised to have a target, that many, which the device brings together.
 */
final class CudaLinearCrossEntropy implements LinearCrossEntropyKernel {
    private static final int MOST_THREADS = 512;
    private static final int WARP = 32;
    private static final int SUM_THREADS = 256;
    private static final int COMPACT_THREADS = 1024;

    private final CudaKernels kernels;
    private final CudaProducts products;

    CudaLinearCrossEntropy(CudaKernels kernels, CudaProducts products) {
        this.kernels = kernels;
        this.products = products;
    }

    /** What to compute besides the loss. */
    private record Gradients(Tensor dx, Optional<Grad> dWeight) {}

    /** What a call reads. */
    private record Inputs(
            Tensor x, Tensor weight, Tensor targets, Tensor scale, float smoothing, long most) {
        /** Whether fewer rows are computed than there are. */
        boolean gathered() {
            return most < x.rows();
        }

        /** Rows that are computed: at least one, so that a gradient to overwrite gets zeros. */
        long rows() {
            return gathered() ? Math.max(1, most) : x.rows();
        }
    }

    /**
     * Scratch of a call: one f32 per row of x, and, where rows are gathered, which they are.
     *
     * @param losses of the rows of x that have a target
     * @param active i32 per computed row: the row of x, or -1
     * @param count i32: how many rows have a target
     */
    private record Scratch(long losses, long active, long count) {}

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
        Inputs inputs = new Inputs(x, weight, targets, scale, labelSmoothing, mostTargets);
        run(loss, Optional.empty(), inputs, workspace);
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
        Inputs inputs = new Inputs(x, weight, targets, scale, labelSmoothing, mostTargets);
        run(loss, Optional.of(new Gradients(dx, dWeight)), inputs, workspace);
    }

    private void run(
            Tensor loss, Optional<Gradients> gradients, Inputs inputs, Workspace workspace) {
        Tensor x = inputs.x;
        Scratch scratch = scratch(inputs);
        if (inputs.gathered()) {
            kernels.call("linear_cross_entropy_compact")
                    .pointer(scratch.active)
                    .pointer(scratch.count)
                    .tensor(inputs.targets)
                    .i32(x.rows())
                    .i32(inputs.rows())
                    .launch(LaunchShape.of(1, COMPACT_THREADS));
            gradients.ifPresent(g -> clear(g.dx, inputs, scratch));
        }
        long chunk = workspace.logits().rows();
        for (long from = 0; from < inputs.rows(); from += chunk) {
            long rows = Math.min(chunk, inputs.rows() - from);
            Tensor chunkOfX =
                    inputs.gathered() ? workspace.rows().rows(0, rows) : x.rows(from, rows);
            if (inputs.gathered()) {
                move("gather", chunkOfX, x, rows, scratch, from);
            }
            Tensor logits = workspace.logits().rows(0, rows);
            Tensor dLogits = workspace.dLogits().rows(0, rows);
            Factor weight = Factor.transposed(inputs.weight);
            products.multiply(logits, Factor.plain(chunkOfX), weight, Optional.empty());
            losses(logits, gradients.map(g -> dLogits), inputs, scratch, from);
            if (gradients.isPresent()) {
                backward(gradients.get(), inputs, chunkOfX, dLogits, scratch, from);
            }
        }
        kernels.call("linear_cross_entropy_sum")
                .tensor(loss)
                .pointer(scratch.losses)
                .tensor(inputs.targets)
                .i32(x.rows())
                .pointer(scratch.count)
                .i32(inputs.rows())
                .launch(LaunchShape.of(1, SUM_THREADS));
    }

    private Scratch scratch(Inputs inputs) {
        long rows = inputs.x.rows() * DType.F32.bytes();
        long losses = kernels.scratch(2 * rows + DType.I32.bytes());
        return inputs.gathered()
                ? new Scratch(losses, losses + rows, losses + 2 * rows)
                : new Scratch(losses, 0, 0);
    }

    private void losses(
            Tensor logits, Optional<Tensor> dLogits, Inputs inputs, Scratch scratch, long from) {
        boolean vectors = rowsAligned(logits) && dLogits.map(d -> rowsAligned(d)).orElse(true);
        long perThread = Math.ceilDiv(logits.cols(), 8);
        int warps = Math.clamp(Math.ceilDiv(perThread, WARP), 1, MOST_THREADS / WARP);
        DType type = inputs.x.dtype();
        kernels.call("linear_cross_entropy_rows" + suffix(type, vectors))
                .pointer(scratch.losses)
                .pointer(dLogits.map(Tensor::address).orElse(0L))
                .i64(dLogits.map(Tensor::stride).orElse(0L))
                .tensor(logits)
                .i64(logits.stride())
                .i32(logits.cols())
                .tensor(inputs.targets)
                .tensor(inputs.scale)
                .pointer(scratch.active)
                .i32(from)
                .f32(inputs.smoothing)
                .launch(LaunchShape.of(logits.rows(), warps * WARP));
    }

    private void backward(
            Gradients gradients,
            Inputs inputs,
            Tensor chunkOfX,
            Tensor dLogits,
            Scratch scratch,
            long from) {
        gradients.dWeight.ifPresent(
                grad ->
                        products.multiply(
                                grad.tensor(),
                                Factor.transposed(dLogits),
                                Factor.plain(chunkOfX),
                                1f,
                                grad.accumulate() || from > 0));
        // The gathered rows of x are not needed again: their gradient takes their place.
        Tensor to = inputs.gathered() ? chunkOfX : gradients.dx.rows(from, dLogits.rows());
        products.multiply(to, Factor.plain(dLogits), Factor.plain(inputs.weight), Optional.empty());
        if (inputs.gathered()) {
            move("scatter", gradients.dx, to, to.rows(), scratch, from);
        }
    }

    /** Zeroes the rows without target, and writes NaN into all others when they are too many. */
    private void clear(Tensor dx, Inputs inputs, Scratch scratch) {
        kernels.call("linear_cross_entropy_clear" + suffix(dx.dtype(), CudaKernels.aligned(dx)))
                .tensor(dx)
                .i64(dx.stride())
                .i64(dx.cols())
                .tensor(inputs.targets)
                .pointer(scratch.count)
                .i32(inputs.rows())
                .launch(LaunchShape.of(dx.rows(), threads(dx)));
    }

    private void move(String how, Tensor to, Tensor from, long rows, Scratch scratch, long first) {
        boolean vectors = CudaKernels.aligned(to, from);
        kernels.call("linear_cross_entropy_" + how + suffix(to.dtype(), vectors))
                .tensor(to)
                .i64(to.stride())
                .tensor(from)
                .i64(from.stride())
                .i64(to.cols())
                .pointer(scratch.active)
                .i32(first)
                .launch(LaunchShape.of(rows, threads(to)));
    }

    /** For rows of a few thousand columns, 16 bytes per thread. */
    private static int threads(Tensor rows) {
        long vectors = Math.ceilDiv(rows.cols() * rows.dtype().bytes(), 16);
        return Math.clamp(Math.ceilDiv(vectors, WARP), 1, 8) * WARP;
    }

    private static String suffix(DType dtype, boolean vectors) {
        return CudaKernels.suffix(dtype) + (vectors ? "" : "_scalar");
    }

    /** True when rows start at multiples of 16 bytes; they may end anywhere. */
    private static boolean rowsAligned(Tensor t) {
        return t.address() % 16 == 0 && t.stride() * t.dtype().bytes() % 16 == 0;
    }
}
