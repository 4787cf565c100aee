package jlora.cu.cudnn;

import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_MATMUL_COMP_TYPE;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_MATMUL_ADESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_MATMUL_BDESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_MATMUL_CDESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_MATMUL_DESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_POINTWISE_BDESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_POINTWISE_TDESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_POINTWISE_XDESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_POINTWISE_YDESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_REDUCTION_DESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_REDUCTION_XDESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_REDUCTION_YDESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_RESHAPE_XDESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATION_RESHAPE_YDESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_POINTWISE_AXIS;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_POINTWISE_MATH_PREC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_POINTWISE_MODE;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_REDUCTION_COMP_TYPE;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_REDUCTION_OPERATOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_TENSOR_DATA_TYPE;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_TENSOR_DIMENSIONS;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_TENSOR_IS_BY_VALUE;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_TENSOR_IS_VIRTUAL;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_TENSOR_STRIDES;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_TENSOR_UNIQUE_ID;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_MATMUL_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_POINTWISE_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_REDUCTION_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_TENSOR_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_DATA_FLOAT;
import static jlora.cu.sys.CudnnConstants.CUDNN_DATA_INT32;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_BINARY_SELECT;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_GEN_INDEX;
import static jlora.cu.sys.CudnnConstants.CUDNN_TYPE_DATA_TYPE;
import static jlora.cu.sys.CudnnConstants.CUDNN_TYPE_POINTWISE_MODE;
import static jlora.cu.sys.CudnnConstants.CUDNN_TYPE_REDUCTION_OPERATOR_TYPE;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The operations that one fused kernel, or a few, compute together. Tensors and operations are
 * added in order; {@link ExecutionPlan} picks an engine for the whole. Intermediates are virtual
 * and f32 unless said otherwise.
 */
final class OperationGraph implements AutoCloseable {
    private final Cudnn cudnn;
    private final String label;
    private final Arena arena = Arena.ofShared();
    private final List<Descriptor> owned = new ArrayList<>();
    private final List<Descriptor> operations = new ArrayList<>();
    private final List<GraphTensor> inMemory = new ArrayList<>();
    private final Map<GraphTensor, Long> values = new LinkedHashMap<>();
    private long nextId = 1;

    OperationGraph(Cudnn cudnn, String label) {
        this.cudnn = cudnn;
        this.label = label;
    }

    Cudnn cudnn() {
        return cudnn;
    }

    String label() {
        return label;
    }

    List<Descriptor> operations() {
        return operations;
    }

    /** Tensors in device memory: an execution needs the address of each. */
    List<GraphTensor> inMemory() {
        return inMemory;
    }

    /** Tensors passed by value, and where on the host their value lies. */
    Map<GraphTensor, Long> values() {
        return values;
    }

    /** A tensor in device memory. */
    GraphTensor device(String name, int dataType, long[] dims, long[] strides) {
        return inMemory(
                finish(name, dataType, dims, strides, describe(name, dataType, dims, strides)));
    }

    private GraphTensor inMemory(GraphTensor tensor) {
        inMemory.add(tensor);
        return tensor;
    }

    /**
     * A tensor in device memory of which batch entry i begins at {@code offsets[i]} elements, not
     * at i times its stride.
     */
    GraphTensor ragged(
            String name, int dataType, long[] dims, long[] strides, GraphTensor offsets) {
        Descriptor descriptor = describe(name, dataType, dims, strides);
        descriptor.set(CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, offsets.descriptor());
        return inMemory(finish(name, dataType, dims, strides, descriptor));
    }

    GraphTensor virtualRagged(
            String name, int dataType, long[] dims, long[] strides, GraphTensor offsets) {
        Descriptor descriptor = describe(name, dataType, dims, strides);
        descriptor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
        descriptor.set(CUDNN_ATTR_TENSOR_RAGGED_OFFSET_DESC, offsets.descriptor());
        return finish(name, dataType, dims, strides, descriptor);
    }

    GraphTensor virtual(String name, int dataType, long[] dims, long[] strides) {
        Descriptor descriptor = describe(name, dataType, dims, strides);
        descriptor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, true);
        return finish(name, dataType, dims, strides, descriptor);
    }

    private GraphTensor virtualLike(String name, int dataType, GraphTensor like) {
        return virtual(name, dataType, like.dims(), like.strides());
    }

    GraphTensor value(String name, float value) {
        return value(name, CUDNN_DATA_FLOAT, arena.allocateFrom(ValueLayout.JAVA_FLOAT, value));
    }

    private GraphTensor value(String name, int dataType, MemorySegment host) {
        long[] ones = {1, 1, 1, 1};
        Descriptor descriptor = describe(name, dataType, ones, ones);
        descriptor.set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, true);
        GraphTensor tensor = finish(name, dataType, ones, ones, descriptor);
        values.put(tensor, host.address());
        return tensor;
    }

    private Descriptor describe(String name, int dataType, long[] dims, long[] strides) {
        return create(CUDNN_BACKEND_TENSOR_DESCRIPTOR, name)
                .set(CUDNN_ATTR_TENSOR_UNIQUE_ID, nextId++)
                .set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, dataType)
                .set(CUDNN_ATTR_TENSOR_DIMENSIONS, dims)
                .set(CUDNN_ATTR_TENSOR_STRIDES, strides)
                .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, GraphTensor.alignment(dataType));
    }

    private GraphTensor finish(
            String name, int dataType, long[] dims, long[] strides, Descriptor descriptor) {
        descriptor.finish();
        return new GraphTensor(nextId - 1, name, dataType, dims, strides, descriptor);
    }

    /**
     * The rows, columns or depth of a product that count, per batch entry; null for all of them.
     */
    record Extent(GraphTensor rows, GraphTensor columns, GraphTensor depth) {}

    /** c = a · b over the last two axes. */
    void matmul(GraphTensor a, GraphTensor b, GraphTensor c, Extent extent) {
        String name = "matmul to " + c.label();
        Descriptor product =
                create(CUDNN_BACKEND_MATMUL_DESCRIPTOR, name)
                        .set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
                        .finish();
        Descriptor operation =
                create(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, name)
                        .set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, a.descriptor())
                        .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, b.descriptor())
                        .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, c.descriptor())
                        .set(CUDNN_ATTR_OPERATION_MATMUL_DESC, product);
        setIfPresent(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, extent.rows());
        setIfPresent(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, extent.columns());
        setIfPresent(operation, CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, extent.depth());
        operations.add(operation.finish());
    }

    private static void setIfPresent(Descriptor operation, int attribute, GraphTensor tensor) {
        if (tensor != null) {
            operation.set(attribute, tensor.descriptor());
        }
    }

    /** A new virtual f32 tensor shaped like x: mode(x). */
    GraphTensor map(String name, int mode, GraphTensor x) {
        GraphTensor y = virtualLike(name, CUDNN_DATA_FLOAT, x);
        pointwise(mode, CUDNN_DATA_FLOAT, x, null, null, y);
        return y;
    }

    /** A new virtual f32 tensor shaped like x: mode(x, b), b broadcast. */
    GraphTensor map(String name, int mode, GraphTensor x, GraphTensor b) {
        return map(name, mode, CUDNN_DATA_FLOAT, x, b);
    }

    /** The same, computed and kept in another type. */
    GraphTensor map(String name, int mode, int dataType, GraphTensor x, GraphTensor b) {
        GraphTensor y = virtualLike(name, dataType, x);
        pointwise(mode, dataType, x, b, null, y);
        return y;
    }

    /** y = mode(x, b) into a tensor that exists. */
    void mapInto(GraphTensor y, int mode, GraphTensor x, GraphTensor b) {
        pointwise(mode, CUDNN_DATA_FLOAT, x, b, null, y);
    }

    /** condition ? x : otherwise. */
    GraphTensor select(String name, GraphTensor x, GraphTensor otherwise, GraphTensor condition) {
        GraphTensor y = virtualLike(name, CUDNN_DATA_FLOAT, x);
        pointwise(CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT, x, otherwise, condition, y);
        return y;
    }

    /** The position along an axis, i32. */
    GraphTensor index(String name, GraphTensor like, int axis) {
        GraphTensor y = virtualLike(name, CUDNN_DATA_INT32, like);
        Descriptor pointwise =
                create(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, name)
                        .set(
                                CUDNN_ATTR_POINTWISE_MODE,
                                CUDNN_TYPE_POINTWISE_MODE,
                                CUDNN_POINTWISE_GEN_INDEX)
                        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_INT32)
                        .set(CUDNN_ATTR_POINTWISE_AXIS, (long) axis)
                        .finish();
        pointwise(pointwise, like, null, null, y);
        return y;
    }

    private void pointwise(
            int mode, int precision, GraphTensor x, GraphTensor b, GraphTensor t, GraphTensor y) {
        Descriptor pointwise =
                create(CUDNN_BACKEND_POINTWISE_DESCRIPTOR, y.label())
                        .set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode)
                        .set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, precision)
                        .finish();
        pointwise(pointwise, x, b, t, y);
    }

    private void pointwise(
            Descriptor pointwise, GraphTensor x, GraphTensor b, GraphTensor t, GraphTensor y) {
        Descriptor operation =
                create(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, "pointwise to " + y.label())
                        .set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise)
                        .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x.descriptor())
                        .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y.descriptor());
        setIfPresent(operation, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
        setIfPresent(operation, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, t);
        operations.add(operation.finish());
    }

    /** Reduces the axes of which y has only one entry, or fewer than x. */
    void reduce(int operator, GraphTensor x, GraphTensor y) {
        String name = "reduction to " + y.label();
        Descriptor reduction =
                create(CUDNN_BACKEND_REDUCTION_DESCRIPTOR, name)
                        .set(
                                CUDNN_ATTR_REDUCTION_OPERATOR,
                                CUDNN_TYPE_REDUCTION_OPERATOR_TYPE,
                                operator)
                        .set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
                        .finish();
        operations.add(
                create(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, name)
                        .set(CUDNN_ATTR_OPERATION_REDUCTION_DESC, reduction)
                        .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x.descriptor())
                        .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y.descriptor())
                        .finish());
    }

    /** The same elements under other dimensions: here, transposed. */
    void reshape(GraphTensor x, GraphTensor y) {
        operations.add(
                create(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR, "reshape to " + y.label())
                        .set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x.descriptor())
                        .set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y.descriptor())
                        .finish());
    }

    private Descriptor create(int type, String name) {
        Descriptor descriptor = Descriptor.create(cudnn, type, label + ": " + name);
        owned.add(descriptor);
        return descriptor;
    }

    @Override
    public void close() {
        for (Descriptor descriptor : owned.reversed()) {
            descriptor.close();
        }
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}
