package jlora.cu.cudnn;

/**
 * A tensor of an {@link OperationGraph}: in device memory, passed by value, or virtual (it exists
 * within a fused kernel alone). Dimensions and strides are in elements, outermost first.
 */
record GraphTensor(
        long id, String label, int dataType, long[] dims, long[] strides, Descriptor descriptor) {
    long dim(int axis) {
        return dims[axis];
    }
}
