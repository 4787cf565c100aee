package jlora.runtime.backend.cuda;

import jlora.cu.cublas.CublasLtMatmul;
import jlora.cu.cublas.MatmulApi;
import jlora.cu.cublas.MatmulArguments;
import jlora.cu.cublas.MatmulShape;
import jlora.cu.cublas.MatrixType;
import jlora.cu.cublas.PreparedMatmul;
import jlora.cu.driver.LaunchShape;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Matrix products of tensors: out (+)= alpha · left · right (+ bias on every row), summed in f32.
 * Operands have one type; the result has it too, or f32. Tensors are rows of any stride: a
 * row-major matrix is a column-major one transposed, so nothing is copied.
 *
 * <p>The library does every product that it has an algorithm for, which is each whose rows start at
 * multiples of 16 bytes. For others it may have none, and for an empty sum it has none: those are
 * done by the plain kernel of {@code linear.cu}.
 */
final class CudaProducts implements AutoCloseable {
    /** Device memory that it holds beside tensors. */
    static final long DEVICE_BYTES = CublasLtMatmul.WORKSPACE_BYTES + AlgorithmChoice.TIMING_BYTES;

    /** Columns and rows of a block's part of the result, and threads, of the plain kernel. */
    private static final long PLAIN_TILE = 64;

    private static final int PLAIN_THREADS = 256;
    private static final int BIAS_BLOCKS_PER_MULTIPROCESSOR = 8;

    private final CudaKernels kernels;
    private final MatmulApi library;
    private final AlgorithmChoice choice;
    private final Map<MatmulShape, Optional<PreparedMatmul>> ways = new HashMap<>();

    /**
     * @param library stays its owner's, who closes it later than this
     */
    CudaProducts(CudaKernels kernels, MatmulApi library, AlgorithmCache cache) {
        this.kernels = kernels;
        this.library = library;
        this.choice = new AlgorithmChoice(library, cache, kernels.context(), kernels.stream());
    }

    /** out = left·right (+ bias on every row). */
    void multiply(Tensor out, Factor left, Factor right, Optional<Tensor> bias) {
        check(out, left, right, bias);
        if (out.elements() == 0) {
            return;
        }
        if (bias.isPresent() && bias.get().dtype() != out.dtype()) {
            // The library adds a bias of the result's type alone.
            biasRows(out, bias.get());
            multiply(out, left, right, Optional.empty(), 1f, true);
        } else {
            multiply(out, left, right, bias, 1f, false);
        }
    }

    /** out (+)= alpha · left·right. */
    void multiply(Tensor out, Factor left, Factor right, float alpha, boolean accumulate) {
        check(out, left, right, Optional.empty());
        if (out.elements() > 0) {
            multiply(out, left, right, Optional.empty(), alpha, accumulate);
        }
    }

    private void multiply(
            Tensor out,
            Factor left,
            Factor right,
            Optional<Tensor> bias,
            float alpha,
            boolean accumulate) {
        Optional<PreparedMatmul> prepared = Optional.empty();
        MatmulArguments arguments =
                new MatmulArguments(
                        right.tensor().address(),
                        left.tensor().address(),
                        out.address(),
                        alpha,
                        bias.map(Tensor::address).orElse(0L));
        if (left.cols() > 0) {
            prepared = library(shape(out, left, right, bias, accumulate), arguments);
        }
        if (prepared.isPresent()) {
            prepared.get().run(arguments, kernels.stream());
        } else {
            plain(out, left, right, bias, alpha, accumulate);
        }
    }

    /**
     * A product by the library, its algorithm chosen when it is first asked for; empty where the
     * library has none, which is an error for an aligned shape.
     */
    Optional<PreparedMatmul> library(MatmulShape shape, MatmulArguments arguments) {
        Optional<PreparedMatmul> prepared = ways.get(shape);
        if (prepared == null) {
            prepared = choose(shape, arguments);
            ways.put(shape, prepared);
        }
        return prepared;
    }

    /** Whether the library has an algorithm for a shape on this device. */
    boolean offers(MatmulShape shape) {
        return !library.algorithms(shape, 1).isEmpty();
    }

    /** The library and its version, in one word. */
    String version() {
        return library.version();
    }

    private Optional<PreparedMatmul> choose(MatmulShape shape, MatmulArguments arguments) {
        Optional<PreparedMatmul> chosen = choice.choose(shape, arguments);
        if (chosen.isEmpty() && shape.aligned()) {
            throw new IllegalStateException(
                    library.version() + " has no algorithm for the product " + shape);
        }
        return chosen;
    }

    /** What a user may want to know of how algorithms were chosen. */
    List<String> notes() {
        return choice.notes();
    }

    /** Shapes whose algorithms were timed here, not found in the cache. */
    int timed() {
        return choice.timed();
    }

    /** Seen as column-major matrices: outᵀ = rightᵀ·leftᵀ. */
    static MatmulShape shape(
            Tensor out, Factor left, Factor right, Optional<Tensor> bias, boolean accumulate) {
        long addresses = out.address() | bias.map(Tensor::address).orElse(0L);
        return new MatmulShape(
                out.cols(),
                out.rows(),
                left.cols(),
                matrix(right.tensor(), right.transposed(), right.tensor().address()),
                matrix(left.tensor(), left.transposed(), left.tensor().address()),
                matrix(out, false, addresses),
                accumulate,
                bias.isPresent());
    }

    private static MatmulShape.Matrix matrix(Tensor tensor, boolean transposed, long address) {
        long stride = tensor.stride();
        if (tensor.rows() == 1) {
            // A single row has no next one; as if it were aligned.
            int unit = MatmulShape.ALIGNMENT / tensor.dtype().bytes();
            stride = (tensor.cols() + unit - 1) / unit * unit;
        }
        return new MatmulShape.Matrix(
                type(tensor.dtype()), transposed, stride, MatmulShape.alignment(address));
    }

    private static MatrixType type(DType dtype) {
        return switch (dtype) {
            case F32 -> MatrixType.F32;
            case BF16 -> MatrixType.BF16;
            case I32, U8, F8_E4M3 ->
                    throw new IllegalArgumentException("no products of " + dtype.torchName());
        };
    }

    /** The kernel for any alignment. */
    void plain(
            Tensor out,
            Factor left,
            Factor right,
            Optional<Tensor> bias,
            float alpha,
            boolean accumulate) {
        long tiles = Math.ceilDiv(out.rows(), PLAIN_TILE) * Math.ceilDiv(out.cols(), PLAIN_TILE);
        kernels.call("linear_product" + CudaKernels.suffix(left.tensor().dtype()), out.dtype())
                .tensor(out)
                .i64(out.stride())
                .tensor(left.tensor())
                .i64(left.rowStride())
                .i64(left.colStride())
                .tensor(right.tensor())
                .i64(right.rowStride())
                .i64(right.colStride())
                .pointer(bias.map(Tensor::address).orElse(0L))
                .i64(out.rows())
                .i64(out.cols())
                .i32(left.cols())
                .f32(alpha)
                .i32(accumulate ? 1 : 0)
                .launch(LaunchShape.of(tiles, PLAIN_THREADS));
    }

    private void biasRows(Tensor out, Tensor bias) {
        long blocks =
                Math.min(
                        Math.ceilDiv(out.elements(), (long) PLAIN_THREADS),
                        (long) BIAS_BLOCKS_PER_MULTIPROCESSOR * kernels.device().multiprocessors());
        kernels.call("linear_bias_rows" + CudaKernels.suffix(bias.dtype()), out.dtype())
                .tensor(out)
                .i64(out.stride())
                .tensor(bias)
                .i64(out.rows())
                .i64(out.cols())
                .launch(LaunchShape.of(blocks, PLAIN_THREADS));
    }

    private static void check(Tensor out, Factor left, Factor right, Optional<Tensor> bias) {
        DType operands = left.tensor().dtype();
        boolean shapes =
                left.rows() == out.rows()
                        && right.cols() == out.cols()
                        && left.cols() == right.rows()
                        && bias.map(b -> b.rows() == 1 && b.cols() == out.cols()).orElse(true);
        boolean types =
                operands.isFloat()
                        && right.tensor().dtype() == operands
                        && (out.dtype() == operands || out.dtype() == DType.F32)
                        && bias.map(b -> b.dtype() == operands).orElse(true);
        if (!shapes || !types) {
            throw new IllegalArgumentException(
                    "no product: " + out.describe() + " of " + left + " and " + right);
        }
    }

    @Override
    public void close() {
        choice.close();
    }
}
