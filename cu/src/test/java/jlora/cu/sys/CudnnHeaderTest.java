package jlora.cu.sys;

import jlora.cu.HeaderCheck;

import org.junit.jupiter.api.Test;

import java.io.IOException;

/** What is written down of cuDNN, against {@code cudnn_graph.h} where it is installed. */
class CudnnHeaderTest {
    @Test
    void constants() throws IOException, InterruptedException {
        HeaderCheck.of("cudnn.h").constants(CudnnConstants.class, "CUDNN_").check();
    }
}
