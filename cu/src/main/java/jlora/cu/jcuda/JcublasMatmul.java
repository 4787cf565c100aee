package jlora.cu.jcuda;

import jcuda.Pointer;
import jcuda.driver.CUstream;
import jcuda.jcublas.JCublas2;
import jcuda.jcublas.cublasComputeType;
import jcuda.jcublas.cublasGemmAlgo;
import jcuda.jcublas.cublasHandle;
import jcuda.jcublas.cublasOperation;
import jcuda.jcublas.cublasStatus;
import jcuda.runtime.cudaStream_t;

import jlora.cu.CudaLibraries;
import jlora.cu.MissingLibraryException;
import jlora.cu.cublas.CublasFailures;
import jlora.cu.cublas.CublasLtMatmul;
import jlora.cu.cublas.MatmulAlgorithm;
import jlora.cu.cublas.MatmulApi;
import jlora.cu.cublas.MatmulArguments;
import jlora.cu.cublas.MatmulShape;
import jlora.cu.cublas.MatrixType;
import jlora.cu.cublas.PreparedMatmul;
import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaDriver;
import jlora.cu.driver.CudaException;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.DeviceBuffer;
import jlora.cu.driver.PinnedBuffer;

import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * Products by JCublas 12.6, which calls cuBLAS 12's {@code cublasGemmEx} (JCublas has it as {@code
 * cublasGemmEx_new}; its {@code cublasGemmEx} is that of CUDA 10, whose compute type is a data
 * type): one algorithm per shape, the library's own choice, and no FP8. A bias is a product of its
 * own, with a row of ones, that comes first: a bias is exact in D's type, so the sum is rounded
 * once all the same.
 */
public final class JcublasMatmul implements MatmulApi {
    private static final MatmulAlgorithm ITS_OWN_CHOICE = new MatmulAlgorithm("default");

    /** Device memory that is held, as much as {@link CublasLtMatmul} holds. */
    private static final long HELD_BYTES = CublasLtMatmul.WORKSPACE_BYTES;

    /** Columns that a bias is written to at a time. */
    private static final int ONES = 1 << 14;

    private static final long ONES_BYTES = (long) ONES * (Float.BYTES + Short.BYTES);
    private static final long WORKSPACE_BYTES = HELD_BYTES - ONES_BYTES;
    private static final short BF16_ONE = 0x3f80;

    private final CudaContext context;
    private final cublasHandle handle;
    private final DeviceBuffer workspace;

    /** The workspace's end: ones in f32, then in bf16. */
    private final long ones;

    private final float[] one = {1};
    private final float[] zero = {0};
    private int version;
    private boolean closed;

    private JcublasMatmul(cublasHandle handle, CudaContext context) {
        this.context = context;
        this.handle = handle;
        this.workspace = context.allocate("workspace of matrix products", HELD_BYTES);
        this.ones = workspace.address() + WORKSPACE_BYTES;
    }

    /**
     * In the context, which is current; allocates the workspace.
     *
     * @throws MissingLibraryException where cuBLAS 12 is not found, as beside CUDA 13
     */
    public static MatmulApi open(CudaLibraries libraries, CudaContext context) {
        // Opened first, so that JCublas's own library binds to these.
        try {
            libraries.cublas12();
            JCublas2.setExceptionsEnabled(false);
        } catch (MissingLibraryException | LinkageError e) {
            throw new MissingLibraryException(
                    "JCublas 12.6 needs libcublas.so.12, and "
                            + (e instanceof MissingLibraryException
                                    ? e.getMessage()
                                    : "its native library libJCublas2 could not be loaded")
                            + "; or set cuda_binding: panama, which works with CUDA 12 and 13",
                    e);
        }
        cublasHandle handle = new cublasHandle();
        check(
                context.driver(),
                "cublasCreate",
                JCublas2.cublasCreate(handle),
                () -> "libcublas.so.12");
        JcublasMatmul matmul;
        try {
            matmul = new JcublasMatmul(handle, context);
        } catch (RuntimeException | Error e) {
            JCublas2.cublasDestroy(handle);
            throw e;
        }
        try {
            matmul.initialise();
            return matmul;
        } catch (RuntimeException | Error e) {
            matmul.close();
            throw e;
        }
    }

    private void initialise() {
        int[] found = new int[1];
        check("cublasGetVersion", JCublas2.cublasGetVersion(handle, found), () -> "");
        version = found[0];
        try (CudaStream stream = context.stream("ones");
                PinnedBuffer host = context.allocatePinned("ones", ONES_BYTES)) {
            for (int i = 0; i < ONES; i++) {
                host.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, 1);
                host.segment().setAtIndex(ValueLayout.JAVA_SHORT, 2L * ONES + i, BF16_ONE);
            }
            stream.copyToDevice(ones, host.segment().address(), ONES_BYTES);
            stream.synchronize();
        }
    }

    @Override
    public String version() {
        return "jcublas-" + version;
    }

    @Override
    public List<MatmulAlgorithm> algorithms(MatmulShape shape, int most) {
        return supported(shape) ? List.of(ITS_OWN_CHOICE) : List.of();
    }

    @Override
    public Optional<PreparedMatmul> prepare(MatmulShape shape, MatmulAlgorithm algorithm) {
        return supported(shape) && algorithm.equals(ITS_OWN_CHOICE)
                ? Optional.of((arguments, stream) -> run(shape, arguments, stream))
                : Optional.empty();
    }

    private static boolean supported(MatmulShape shape) {
        boolean together =
                shape.a().type() == shape.b().type()
                        && (shape.a().type() == MatrixType.BF16
                                || shape.d().type() == MatrixType.F32);
        return together && plain(shape.a()) && plain(shape.b()) && plain(shape.d()) && fits(shape);
    }

    private static boolean plain(MatmulShape.Matrix matrix) {
        return matrix.type() == MatrixType.F32 || matrix.type() == MatrixType.BF16;
    }

    /** cublasGemmEx counts in 32 bits. */
    private static boolean fits(MatmulShape shape) {
        long largest = Math.max(Math.max(shape.m(), shape.n()), shape.k());
        long strides =
                Math.max(
                        shape.a().leadingDimension(),
                        Math.max(shape.b().leadingDimension(), shape.d().leadingDimension()));
        return Math.max(largest, strides) <= Integer.MAX_VALUE;
    }

    private void run(MatmulShape shape, MatmulArguments arguments, CudaStream stream) {
        CUstream theirs = JcudaHandles.stream(stream);
        check(
                "cublasSetStream",
                JCublas2.cublasSetStream(handle, new cudaStream_t(theirs)),
                stream::label);
        // Ours, so that a product may be recorded into a graph and repeats its bits; another
        // stream takes it away.
        check(
                "cublasSetWorkspace",
                JCublas2.cublasSetWorkspace(
                        handle, JcudaHandles.pointer(workspace.address()), WORKSPACE_BYTES),
                workspace::label);
        if (shape.bias()) {
            writeBias(shape, arguments);
        }
        int status =
                JCublas2.cublasGemmEx_new(
                        handle,
                        operation(shape.a()),
                        operation(shape.b()),
                        (int) shape.m(),
                        (int) shape.n(),
                        (int) shape.k(),
                        Pointer.to(new float[] {arguments.alpha()}),
                        JcudaHandles.pointer(arguments.a()),
                        shape.a().type().code(),
                        (int) shape.a().leadingDimension(),
                        JcudaHandles.pointer(arguments.b()),
                        shape.b().type().code(),
                        (int) shape.b().leadingDimension(),
                        Pointer.to(shape.accumulate() || shape.bias() ? one : zero),
                        JcudaHandles.pointer(arguments.d()),
                        shape.d().type().code(),
                        (int) shape.d().leadingDimension(),
                        cublasComputeType.CUBLAS_COMPUTE_32F,
                        cublasGemmAlgo.CUBLAS_GEMM_DEFAULT);
        check("cublasGemmEx", status, shape::toString);
    }

    /** D[m,n] = bias[m,1] · ones[1,n]. */
    private void writeBias(MatmulShape shape, MatmulArguments arguments) {
        MatrixType type = shape.d().type();
        long row = ones + (type == MatrixType.F32 ? 0 : (long) ONES * Float.BYTES);
        long column = shape.d().leadingDimension() * type.bytes();
        for (long from = 0; from < shape.n(); from += ONES) {
            int status =
                    JCublas2.cublasGemmEx_new(
                            handle,
                            cublasOperation.CUBLAS_OP_N,
                            cublasOperation.CUBLAS_OP_N,
                            (int) shape.m(),
                            (int) Math.min(ONES, shape.n() - from),
                            1,
                            Pointer.to(one),
                            JcudaHandles.pointer(arguments.bias()),
                            type.code(),
                            (int) shape.m(),
                            JcudaHandles.pointer(row),
                            type.code(),
                            1,
                            Pointer.to(zero),
                            JcudaHandles.pointer(arguments.d() + from * column),
                            type.code(),
                            (int) shape.d().leadingDimension(),
                            cublasComputeType.CUBLAS_COMPUTE_32F,
                            cublasGemmAlgo.CUBLAS_GEMM_DEFAULT);
            check("cublasGemmEx", status, () -> "the bias of " + shape);
        }
    }

    private static int operation(MatmulShape.Matrix matrix) {
        return matrix.transposed() ? cublasOperation.CUBLAS_OP_T : cublasOperation.CUBLAS_OP_N;
    }

    private void check(String call, int status, Supplier<String> detail) {
        check(context.driver(), call, status, detail);
    }

    /** The detail is put together only when the call failed. */
    private static void check(CudaDriver driver, String call, int status, Supplier<String> detail) {
        if (status != cublasStatus.CUBLAS_STATUS_SUCCESS) {
            throw driver.failure(
                    CublasFailures.of(
                            new CudaException.Failure(
                                    call, status, cublasStatus.stringFor(status), detail.get())));
        }
    }

    @Override
    public void close() {
        if (!closed) {
            closed = true;
            int status = JCublas2.cublasDestroy(handle);
            workspace.close();
            check("cublasDestroy", status, () -> "");
        }
    }
}
