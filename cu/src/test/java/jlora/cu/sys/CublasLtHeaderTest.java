package jlora.cu.sys;

import jlora.cu.HeaderCheck;

import org.junit.jupiter.api.Test;

import java.io.IOException;

/** What is written down of cuBLASLt, against {@code cublasLt.h} where it is installed. */
class CublasLtHeaderTest {
    @Test
    void constantsAndStructs() throws IOException, InterruptedException {
        HeaderCheck.of("cublasLt.h")
                .constants(CublasLtConstants.class, "CU")
                .layout("cublasLtMatmulAlgo_t", CublasLtSys.ALGO)
                .layout("cublasLtMatmulHeuristicResult_t", CublasLtSys.HEURISTIC_RESULT)
                .check();
    }
}
