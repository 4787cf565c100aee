package jlora.cu.cublas;

import jlora.cu.driver.CudaStream;

/** A product with its algorithm, ready to run; it lives as long as the {@link MatmulApi}. */
public interface PreparedMatmul {
    /** Starts the product on the stream; may be recorded into a graph. */
    void run(MatmulArguments arguments, CudaStream stream);
}
