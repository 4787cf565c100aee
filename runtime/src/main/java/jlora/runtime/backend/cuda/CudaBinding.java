package jlora.runtime.backend.cuda;

import jlora.cu.NativeLibrary;
import jlora.cu.jcuda.JcudaDriver;
import jlora.cu.sys.CudaDriverApi;
import jlora.cu.sys.PanamaCudaDriver;

/** Who calls the CUDA driver. */
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
}
