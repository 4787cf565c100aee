package jlora.cu.cudnn;

import static jlora.cu.sys.CudnnConstants.CUDNN_DATA_BFLOAT16;
import static jlora.cu.sys.CudnnConstants.CUDNN_DATA_INT64;

/**
 * A tensor of an {@link OperationGraph}: in device memory, passed by value, or virtual (it exists
 * within a fused kernel alone). Dimensions and strides are in elements, outermost first.
 */
record GraphTensor(
        long id, String label, int dataType, long[] dims, long[] strides, Descriptor descriptor) {
    /** Bytes that the fast kernels load at once. */
    static final int PACK = 16;

    /** Rows of heads are loaded by packs; other tensors element by element. */
    static long alignment(int dataType) {
        if (dataType == CUDNN_DATA_BFLOAT16) {
            return PACK;
        }
        return dataType == CUDNN_DATA_INT64 ? Long.BYTES : Integer.BYTES;
    }

    /**
     * @throws IllegalArgumentException when the tensor cannot lie there
     */
    void requireAddress(Long address) {
        if (address == null || address == 0 || address % alignment(dataType) != 0) {
            throw new IllegalArgumentException(
                    label
                            + " at address "
                            + (address == null ? "(none)" : "0x" + Long.toHexString(address))
                            + ", needs a multiple of "
                            + alignment(dataType));
        }
    }
}
