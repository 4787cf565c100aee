package jlora.runtime.backend.cuda;

import jlora.cu.cublas.MatmulArguments;
import jlora.cu.cublas.MatmulShape;
import jlora.cu.cublas.MatrixScaling;
import jlora.cu.cublas.MatrixType;
import jlora.cu.cublas.PreparedMatmul;
import jlora.cu.driver.DeviceBuffer;
import jlora.cu.driver.LaunchShape;
import jlora.runtime.JloraException;
import jlora.runtime.kernel.Fp8Kernel;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;

/**
 * {@link Fp8Kernel} by cuBLASLt's FP8 products, and by {@code fp8.cu} for all else. The library
 * takes FP8 on Hopper only with both matrices' rows along k, which is how this contract has them,
 * with scales for rows of both, or for pieces of one and blocks of the other.
 *
 * <p>Products whose dimensions it does not take are done by a plain kernel, slowly: k, or the bytes
 * of a row of results, not a multiple of 16; with blocks, tokens not a multiple of 4.
 */
final class CudaFp8 implements Fp8Kernel, AutoCloseable {
    /**
     * Ones, for a weight that has no scales of its own: the library wants a vector all the same.
     */
    private static final int ONES = 1 << 18;

    /** Device memory that it holds. */
    static final long DEVICE_BYTES = (long) ONES * Float.BYTES;

    private static final int THREADS = 256;
    private static final int WARPS = THREADS / 32;
    private static final int BLOCKS_PER_MULTIPROCESSOR = 32;

    /** Rows and columns of a block's part of a result, of the plain kernel. */
    private static final long PLAIN_TILE = 64;

    /** Sides of what is transposed by a block: by 16 bytes, and byte by byte. */
    private static final long TRANSPOSE_TILE = 128;

    private static final long TRANSPOSE_TILE_SCALAR = 32;

    /** With scales of blocks, the library wants tokens, outputs and rows of scales in fours. */
    private static final int FOURS = 4;

    /** Sides of a product that the library is asked for, to know whether it has any. */
    private static final int PROBE = 256;

    private final CudaKernels kernels;
    private final CudaProducts products;
    private final Tensor ones = Tensor.dense("ones", Storage.Role.WORKSPACE, DType.F32, 1, ONES);
    private final MemoryArena memory;

    /** What the library has products of. With the first, the ones are filled. */
    private final Set<Scaling> offered = EnumSet.noneOf(Scaling.class);

    CudaFp8(CudaKernels kernels, CudaProducts products) {
        this.kernels = kernels;
        this.products = products;
        DeviceBuffer buffer = kernels.context().allocate("ones of FP8 products", DEVICE_BYTES);
        this.memory =
                MemoryArena.device(buffer.label(), DEVICE_BYTES, buffer.address(), buffer::close);
        memory.place(ones.storage(), 0);
    }

    @Override
    public void requireProducts(Scaling weights) {
        if (offered.contains(weights)) {
            return;
        }
        MatmulShape probe =
                new MatmulShape(
                        PROBE,
                        PROBE,
                        PROBE,
                        matrix(true, PROBE, scaling(weights)),
                        matrix(false, PROBE, scaling(weights.ofActivations())),
                        new MatmulShape.Matrix(
                                MatrixType.BF16, false, PROBE, MatmulShape.ALIGNMENT),
                        true,
                        false);
        if (!products.offers(probe)) {
            throw JloraException.usage(
                    "weight_dtype: fp8 needs FP8 products, which "
                            + products.version()
                            + " does not have on "
                            + kernels.device().name()
                            + " ("
                            + kernels.device().architecture()
                            + "): they take a GPU of sm_90 (H100, H200), cuBLASLt 12.9 or later"
                            + " and cuda_binding: panama; leave weight_dtype out, or set"
                            + " load_in_4bit: true");
        }
        if (offered.isEmpty()) {
            new CudaRandomFill(kernels).constant(ones, 1);
        }
        offered.add(weights);
    }

    @Override
    public void quantize(Fp8Matrix to, Tensor from, Optional<Tensor> factors) {
        if (from.elements() == 0) {
            return;
        }
        Tensor scales = scales(to);
        int width = 16 / from.dtype().bytes();
        boolean packs = CudaKernels.aligned(from) && alignedTo(width, to.codes());
        String how =
                switch (to.scaling()) {
                    case ROW -> "rows";
                    case PIECE -> "pieces";
                    case BLOCK -> "blocks";
                    case NONE -> throw new IllegalArgumentException(to + " has no scales");
                };
        long blocks =
                switch (to.scaling()) {
                    case ROW, NONE -> to.rows();
                    case PIECE -> Math.ceilDiv(to.rows(), (long) WARPS) * scales.rows();
                    case BLOCK -> scales.elements();
                };
        kernels.call(
                        "fp8_quantize_"
                                + how
                                + CudaKernels.suffix(from.dtype())
                                + (packs ? "" : "_scalar"))
                .rows(to.codes())
                .rows(scales)
                .rows(from)
                .pointer(factors.map(Tensor::address).orElse(0L))
                .i64(to.rows())
                .i64(to.cols())
                .launch(LaunchShape.of(blocks, THREADS));
    }

    /** True when packs of so many codes may be stored at once, wherever one begins. */
    private static boolean alignedTo(int codes, Tensor tensor) {
        boolean rows = tensor.rows() == 1 || tensor.stride() % codes == 0;
        return tensor.address() % codes == 0 && rows;
    }

    @Override
    public void transpose(Fp8Matrix to, Fp8Matrix from) {
        transpose(kernels, to, from);
    }

    /** Needs no scratch: on any stream. */
    static void transpose(CudaKernels kernels, Fp8Matrix to, Fp8Matrix from) {
        if (from.codes().elements() == 0) {
            return;
        }
        boolean packs = CudaKernels.aligned(from.codes(), to.codes());
        long tile = packs ? TRANSPOSE_TILE : TRANSPOSE_TILE_SCALAR;
        kernels.call("fp8_transpose" + (packs ? "" : "_scalar"))
                .rows(to.codes())
                .rows(from.codes())
                .i64(from.rows())
                .i64(from.cols())
                .launch(
                        LaunchShape.of(
                                Math.ceilDiv(from.rows(), tile) * Math.ceilDiv(from.cols(), tile),
                                THREADS));
        if (from.scaling() == Scaling.BLOCK) {
            Tensor scales = scales(from);
            kernels.call("fp8_transpose_scales")
                    .rows(scales(to))
                    .rows(scales)
                    .i64(scales.rows())
                    .i64(scales.cols())
                    .launch(
                            LaunchShape.of(
                                    Math.ceilDiv(scales.elements(), (long) THREADS), THREADS));
        }
    }

    @Override
    public void multiply(Tensor out, Fp8Matrix x, Fp8Matrix weight, boolean accumulate) {
        Fp8Matrix.checkProduct(out, x, weight);
        requireProducts(weight.scaling());
        if (out.elements() == 0) {
            return;
        }
        Optional<PreparedMatmul> prepared = Optional.empty();
        MatmulArguments arguments =
                new MatmulArguments(
                        weight.codes().address(),
                        x.codes().address(),
                        out.address(),
                        1,
                        0,
                        weight.scales().orElse(ones).address(),
                        scales(x).address());
        if (fits(out, x, weight)) {
            MatmulShape shape = shape(out, x, weight, accumulate);
            prepared = products.library(shape, arguments);
        }
        if (prepared.isPresent()) {
            prepared.get().run(arguments, kernels.stream());
        } else {
            plain(out, x, weight, accumulate);
        }
    }

    /** What the library says that it takes. */
    private static boolean fits(Tensor out, Fp8Matrix x, Fp8Matrix weight) {
        boolean blocks = weight.scaling() == Scaling.BLOCK;
        return x.cols() % MatmulShape.ALIGNMENT == 0
                && CudaKernels.aligned(out, x.codes(), weight.codes())
                && scalesFit(x)
                && (weight.scaling() != Scaling.NONE || weight.rows() <= ONES)
                && (weight.scaling() == Scaling.NONE || scalesFit(weight))
                && (!blocks || (x.rows() % FOURS == 0 && weight.rows() % FOURS == 0));
    }

    private static boolean scalesFit(Fp8Matrix matrix) {
        Tensor scales = scales(matrix);
        long fours = Math.ceilDiv(scales.cols(), (long) FOURS) * FOURS;
        boolean step =
                switch (matrix.scaling()) {
                    case BLOCK -> scales.rows() == 1 || scales.stride() == fours;
                    case PIECE -> scales.isDense();
                    case ROW, NONE -> true;
                };
        return step && scales.address() % MatmulShape.ALIGNMENT == 0;
    }

    /** Seen as column-major matrices: outᵀ = weight·xᵀ. */
    static MatmulShape shape(Tensor out, Fp8Matrix x, Fp8Matrix weight, boolean accumulate) {
        long stride = out.rows() == 1 ? out.cols() : out.stride();
        return new MatmulShape(
                out.cols(),
                out.rows(),
                x.cols(),
                matrix(true, stride(weight.codes()), scaling(weight.scaling())),
                matrix(false, stride(x.codes()), scaling(x.scaling())),
                new MatmulShape.Matrix(
                        out.dtype() == DType.F32 ? MatrixType.F32 : MatrixType.BF16,
                        false,
                        stride,
                        MatmulShape.alignment(out.address())),
                accumulate,
                false);
    }

    private static long stride(Tensor codes) {
        return codes.rows() == 1 ? codes.cols() : codes.stride();
    }

    private static MatmulShape.Matrix matrix(
            boolean transposed, long stride, MatrixScaling scaling) {
        return new MatmulShape.Matrix(
                MatrixType.E4M3, transposed, stride, MatmulShape.ALIGNMENT, scaling);
    }

    private static MatrixScaling scaling(Scaling scaling) {
        return switch (scaling) {
            case NONE, ROW -> MatrixScaling.OUTER_VECTOR;
            case PIECE -> MatrixScaling.VECTOR_128;
            case BLOCK -> MatrixScaling.BLOCK_128;
        };
    }

    /** The kernel for any dimensions. */
    void plain(Tensor out, Fp8Matrix x, Fp8Matrix weight, boolean accumulate) {
        long tiles = Math.ceilDiv(out.rows(), PLAIN_TILE) * Math.ceilDiv(out.cols(), PLAIN_TILE);
        matrix(matrix(kernels.call("fp8_product", out.dtype()).rows(out), x), weight)
                .i64(out.rows())
                .i64(out.cols())
                .i64(x.cols())
                .flag(accumulate)
                .launch(LaunchShape.of(tiles, THREADS));
    }

    /** The arguments that a matrix with its scales is passed by. */
    private static CudaKernels.Call matrix(CudaKernels.Call call, Fp8Matrix matrix) {
        return call.rows(matrix.codes()).rows(matrix.scales()).i32(matrix.scaling().ordinal());
    }

    @Override
    public void dequantize(Tensor to, Fp8Matrix from) {
        if (to.elements() == 0) {
            return;
        }
        long most = (long) BLOCKS_PER_MULTIPROCESSOR * kernels.device().multiprocessors();
        long blocks = Math.min(most, Math.ceilDiv(to.elements(), (long) THREADS));
        int width = 16 / to.dtype().bytes();
        boolean packs = CudaKernels.aligned(to) && alignedTo(width, from.codes());
        String kernel = "fp8_dequantize" + CudaKernels.suffix(to.dtype());
        matrix(kernels.call(kernel + (packs ? "" : "_scalar")).rows(to), from)
                .i64(to.rows())
                .i64(to.cols())
                .launch(LaunchShape.of(blocks, THREADS));
    }

    private static Tensor scales(Fp8Matrix matrix) {
        return matrix.scales().orElseThrow();
    }

    @Override
    public void close() {
        memory.close();
    }
}
