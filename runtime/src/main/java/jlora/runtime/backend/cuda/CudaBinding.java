package jlora.runtime.backend.cuda;

import jlora.cu.CudaLibraries;
import jlora.cu.NativeLibrary;
import jlora.cu.cublas.CublasLtMatmul;
import jlora.cu.cublas.MatmulApi;
import jlora.cu.driver.CudaContext;
import jlora.cu.jcuda.JcublasMatmul;
import jlora.cu.jcuda.JcudaDriver;
import jlora.cu.sys.CudaDriverApi;
import jlora.cu.sys.PanamaCudaDriver;

/** Who calls the CUDA driver and the library of matrix products. */
public enum CudaBinding {
    /** Java's own foreign function interface, with whatever CUDA 12 or 13 is installed. */
    PANAMA,
    /** JCuda 12.6, for programs that use it already. */
    JCUDA;

    CudaDriverApi open(NativeLibrary driver) {
        return switch (this) {
            case PANAMA -> new PanamaCudaDriver(driver.symbols());
            case JCUDA -> JcudaDriver.open(driver);
        };
    }

    /** The library of matrix products, in the current context. */
    MatmulApi products(CudaLibraries libraries, CudaContext context) {
        return switch (this) {
            case PANAMA ->
                    CublasLtMatmul.open(libraries.cublasLt(context.driver().version()), context);
            case JCUDA -> JcublasMatmul.open(libraries, context);
        };
    }
}
