package jlora.cu.sys;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import jlora.cu.CudaLibraries;
import jlora.cu.HeaderCheck;
import jlora.cu.MissingLibraryException;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The real cuDNN, where it is installed; what is called here needs no GPU. */
class CudnnLibraryTest {
    private static CudnnSys open() {
        try {
            return new CudnnSys(CudaLibraries.find().cudnn().symbols());
        } catch (MissingLibraryException e) {
            return abort(e.getMessage());
        }
    }

    @Test
    void everyFunctionIsThere() {
        CudnnSys cudnn = open();
        assertEquals(9, cudnn.cudnnGetVersion() / 10000);
        assertEquals(
                "CUDNN_STATUS_SUCCESS",
                cudnn.cudnnGetErrorString(CudnnConstants.CUDNN_STATUS_SUCCESS));
    }

    @Test
    void versionIsTheHeaders() throws IOException, InterruptedException {
        HeaderCheck.of("cudnn.h").constant("CUDNN_VERSION", open().cudnnGetVersion()).check();
    }

    @Test
    void descriptorsAreMadeAndSayWhatIsWrong() {
        CudnnSys cudnn = open();
        long[] descriptor = new long[1];
        assertEquals(
                CudnnConstants.CUDNN_STATUS_SUCCESS,
                cudnn.cudnnBackendCreateDescriptor(
                        CudnnConstants.CUDNN_BACKEND_TENSOR_DESCRIPTOR, descriptor));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment type =
                    arena.allocateFrom(ValueLayout.JAVA_INT, CudnnConstants.CUDNN_DATA_BFLOAT16);
            assertEquals(
                    CudnnConstants.CUDNN_STATUS_SUCCESS,
                    cudnn.cudnnBackendSetAttribute(
                            descriptor[0],
                            CudnnConstants.CUDNN_ATTR_TENSOR_DATA_TYPE,
                            CudnnConstants.CUDNN_TYPE_DATA_TYPE,
                            1,
                            type));
        }
        assertTrue(cudnn.cudnnBackendFinalize(descriptor[0]) != 0, "a tensor without dimensions");
        assertTrue(!cudnn.cudnnGetLastErrorString().isBlank());
        assertEquals(
                CudnnConstants.CUDNN_STATUS_SUCCESS,
                cudnn.cudnnBackendDestroyDescriptor(descriptor[0]));
    }
}
