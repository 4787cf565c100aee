package jlora.cu.cublas;

import jlora.cu.NativeLibrary;
import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.DeviceBuffer;
import jlora.cu.sys.CublasLtConstants;
import jlora.cu.sys.CublasLtSys;

import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout.PathElement;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Products by cuBLASLt. Of its ways to split a long sum only the one is used that keeps the parts
 * in f32 and adds them up in a pass of its own: adding them up in place leaves the order to chance,
 * and parts in the result's type would be rounded to it.
 */
public final class CublasLtMatmul implements MatmulApi {
    /** What NVIDIA recommends for Hopper and Blackwell; smaller GPUs need less. */
    public static final long WORKSPACE_BYTES = 32L << 20;

    /** The first that knows {@linkplain MatmulShape#finelyScaled fine scaling}: 12.9. */
    private static final long FINE_SCALING = 120900;

    private static final long RESULT_BYTES = CublasLtSys.HEURISTIC_RESULT.byteSize();
    private static final long ALGO_BYTES = CublasLtSys.ALGO.byteSize();
    private static final long WORKSPACE_SIZE = offset("workspaceSize");
    private static final long STATE = offset("state");

    private final CublasLt lt;
    private final DeviceBuffer workspace;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment alpha = arena.allocate(ValueLayout.JAVA_FLOAT);
    private final MemorySegment beta = arena.allocate(ValueLayout.JAVA_FLOAT);
    private final Map<MatmulShape, Descriptors> shapes = new HashMap<>();

    private CublasLtMatmul(CublasLt lt, DeviceBuffer workspace) {
        this.lt = lt;
        this.workspace = workspace;
    }

    /** In the context, which is current; allocates the workspace. */
    public static CublasLtMatmul open(NativeLibrary library, CudaContext context) {
        CublasLt lt = CublasLt.open(library, context.driver());
        try {
            return new CublasLtMatmul(
                    lt, context.allocate("workspace of matrix products", WORKSPACE_BYTES));
        } catch (RuntimeException | Error e) {
            lt.close();
            throw e;
        }
    }

    @Override
    public String version() {
        return "cublasLt-" + lt.version();
    }

    @Override
    public List<MatmulAlgorithm> algorithms(MatmulShape shape, int most) {
        if (!known(shape)) {
            return List.of();
        }
        Descriptors descriptors = descriptors(shape);
        try (Arena results = Arena.ofConfined();
                MatmulPreference preference =
                        MatmulPreference.create(lt, shape, workspace.bytes())) {
            MemorySegment found = results.allocate(CublasLtSys.HEURISTIC_RESULT, most);
            int[] count = new int[1];
            int status =
                    lt.sys()
                            .cublasLtMatmulAlgoGetHeuristic(
                                    lt.handle(),
                                    descriptors.operation.handle(),
                                    descriptors.a.handle(),
                                    descriptors.b.handle(),
                                    descriptors.d.handle(),
                                    descriptors.d.handle(),
                                    preference.handle(),
                                    most,
                                    found,
                                    count);
            if (status == CublasLtConstants.CUBLAS_STATUS_NOT_SUPPORTED) {
                return List.of();
            }
            lt.check("cublasLtMatmulAlgoGetHeuristic", status, shape::toString);
            List<MatmulAlgorithm> algorithms = new ArrayList<>();
            for (int i = 0; i < count[0]; i++) {
                MemorySegment result = found.asSlice(i * RESULT_BYTES, RESULT_BYTES);
                MemorySegment algo = result.asSlice(0, ALGO_BYTES);
                if (result.get(ValueLayout.JAVA_INT, STATE)
                                == CublasLtConstants.CUBLAS_STATUS_SUCCESS
                        && repeats(algo)) {
                    byte[] bytes = algo.toArray(ValueLayout.JAVA_BYTE);
                    algorithms.add(new MatmulAlgorithm(HexFormat.of().formatHex(bytes)));
                }
            }
            return algorithms;
        }
    }

    @Override
    public Optional<PreparedMatmul> prepare(MatmulShape shape, MatmulAlgorithm algorithm) {
        Optional<MemorySegment> algo = words(algorithm);
        if (algo.isEmpty() || !known(shape)) {
            return Optional.empty();
        }
        Descriptors descriptors = descriptors(shape);
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment result = scratch.allocate(CublasLtSys.HEURISTIC_RESULT);
            int status =
                    lt.sys()
                            .cublasLtMatmulAlgoCheck(
                                    lt.handle(),
                                    descriptors.operation.handle(),
                                    descriptors.a.handle(),
                                    descriptors.b.handle(),
                                    descriptors.d.handle(),
                                    descriptors.d.handle(),
                                    algo.get(),
                                    result);
            boolean runs =
                    status == CublasLtConstants.CUBLAS_STATUS_SUCCESS
                            && result.get(ValueLayout.JAVA_INT, STATE)
                                    == CublasLtConstants.CUBLAS_STATUS_SUCCESS
                            && result.get(ValueLayout.JAVA_LONG, WORKSPACE_SIZE)
                                    <= workspace.bytes()
                            && repeats(algo.get());
            return runs
                    ? Optional.of(
                            (arguments, stream) ->
                                    run(shape, descriptors, algo.get(), arguments, stream))
                    : Optional.empty();
        }
    }

    private void run(
            MatmulShape shape,
            Descriptors descriptors,
            MemorySegment algo,
            MatmulArguments arguments,
            CudaStream stream) {
        if (shape.bias()) {
            descriptors.operation.bias(arguments.bias());
        }
        if (shape.a().type().isFp8()) {
            descriptors.operation.scales(arguments.scaleA(), arguments.scaleB());
        }
        alpha.set(ValueLayout.JAVA_FLOAT, 0, arguments.alpha());
        beta.set(ValueLayout.JAVA_FLOAT, 0, shape.accumulate() ? 1f : 0f);
        lt.check(
                "cublasLtMatmul",
                lt.sys()
                        .cublasLtMatmul(
                                lt.handle(),
                                descriptors.operation.handle(),
                                alpha,
                                arguments.a(),
                                descriptors.a.handle(),
                                arguments.b(),
                                descriptors.b.handle(),
                                beta,
                                arguments.d(),
                                descriptors.d.handle(),
                                arguments.d(),
                                descriptors.d.handle(),
                                algo,
                                workspace.address(),
                                workspace.bytes(),
                                stream.handle()),
                shape::toString);
    }

    /** An older library refuses the attributes themselves. */
    private boolean known(MatmulShape shape) {
        return !shape.finelyScaled() || lt.version() >= FINE_SCALING;
    }

    private Descriptors descriptors(MatmulShape shape) {
        return shapes.computeIfAbsent(shape, s -> new Descriptors(lt, s));
    }

    /** The words of an algorithm; empty where its code is not one of ours. */
    private Optional<MemorySegment> words(MatmulAlgorithm algorithm) {
        if (algorithm.code().length() != 2 * ALGO_BYTES) {
            return Optional.empty();
        }
        try {
            byte[] bytes = HexFormat.of().parseHex(algorithm.code());
            MemorySegment words = arena.allocate(CublasLtSys.ALGO);
            words.copyFrom(MemorySegment.ofArray(bytes));
            return Optional.of(words);
        } catch (IllegalArgumentException e) {
            return Optional.empty();
        }
    }

    /** The preference asks for it too; this makes sure, also of an algorithm from a file. */
    private boolean repeats(MemorySegment algo) {
        int scheme = config(algo, CublasLtConstants.CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
        return scheme == CublasLtConstants.CUBLASLT_REDUCTION_SCHEME_NONE
                || scheme == CublasLtConstants.CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    }

    private int config(MemorySegment algo, int attribute) {
        try (Arena scratch = Arena.ofConfined()) {
            MemorySegment value = scratch.allocate(ValueLayout.JAVA_INT);
            lt.check(
                    "cublasLtMatmulAlgoConfigGetAttribute",
                    lt.sys()
                            .cublasLtMatmulAlgoConfigGetAttribute(
                                    algo, attribute, value, new long[1]),
                    "attribute " + attribute);
            return value.get(ValueLayout.JAVA_INT, 0);
        }
    }

    private static long offset(String field) {
        return CublasLtSys.HEURISTIC_RESULT.byteOffset(PathElement.groupElement(field));
    }

    @Override
    public void close() {
        if (!arena.scope().isAlive()) {
            return;
        }
        arena.close();
        // Whatever fails to close, the rest is closed.
        try {
            closeAll(shapes.values());
        } finally {
            closeAll(List.of(workspace, lt));
        }
    }

    private static void closeAll(Collection<? extends AutoCloseable> resources) {
        RuntimeException first = null;
        for (AutoCloseable resource : resources) {
            try {
                resource.close();
            } catch (Exception e) {
                if (first == null) {
                    first = e instanceof RuntimeException r ? r : new IllegalStateException(e);
                } else {
                    first.addSuppressed(e);
                }
            }
        }
        if (first != null) {
            throw first;
        }
    }

    /** The descriptors of one shape. C and D are the same matrix. */
    private static final class Descriptors implements AutoCloseable {
        final MatmulDescriptor operation;
        final MatrixLayout a;
        final MatrixLayout b;
        final MatrixLayout d;

        Descriptors(CublasLt lt, MatmulShape shape) {
            List<LtObject> created = new ArrayList<>();
            try {
                created.add(operation = MatmulDescriptor.create(lt, shape));
                created.add(a = MatrixLayout.create(lt, shape.a(), shape.m(), shape.k()));
                created.add(b = MatrixLayout.create(lt, shape.b(), shape.k(), shape.n()));
                created.add(d = MatrixLayout.create(lt, shape.d(), shape.m(), shape.n()));
            } catch (RuntimeException | Error e) {
                try {
                    closeAll(created);
                } catch (RuntimeException second) {
                    e.addSuppressed(second);
                }
                throw e;
            }
        }

        @Override
        public void close() {
            closeAll(List.of(operation, a, b, d));
        }
    }
}
