package jlora.trainer.config;

import jlora.runtime.kernel.Fp8Matrix;

/** Which elements of a matrix in FP8 share a scale. */
public enum Fp8Scales {
    ROW(Fp8Matrix.Scaling.ROW),
    BLOCK(Fp8Matrix.Scaling.BLOCK);

    private final Fp8Matrix.Scaling scaling;

    Fp8Scales(Fp8Matrix.Scaling scaling) {
        this.scaling = scaling;
    }

    Fp8Matrix.Scaling scaling() {
        return scaling;
    }
}
