package jlora.runtime.kernel;

import jlora.runtime.JloraException;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * Matrices in FP8: quantising weights and activations, and their products. A scale is the largest
 * magnitude m of the elements that share it, at least {@link Fp8Matrix#LEAST_MAGNITUDE}, divided by
 * {@link Fp8Matrix#LARGEST}; a code is the one nearest to element · (448/m), ties to the even code,
 * and ±448 beyond the range. All of that is f32 arithmetic, each operation rounded, so codes and
 * scales are the same bits everywhere.
 *
 * <p>What is not finite stays visible. A NaN gets the code of NaN, whatever its sign, and does not
 * count as a magnitude; an infinity makes the scale infinite, itself a NaN, and the elements that
 * share its scale zeros. Either way the products of that row are NaN.
 */
public interface Fp8Kernel {
    /**
     * Returns where this backend multiplies by weights of such a scaling as fast as FP8 is meant to
     * be. To be asked before weights are loaded.
     *
     * @throws JloraException (usage) saying what is missing, and what to do instead
     */
    void requireProducts(Scaling weights);

    /**
     * Quantises a weight, its rows in pieces of {@link Fp8Matrix#rows}, or activations.
     *
     * @param to [r,c]; codes and scales are overwritten
     * @param from [r,c] f32 or bf16, maybe strided
     * @param factors f32 [1,c]: each column of {@code from} is multiplied by its factor first. The
     *     product with the transpose of a weight scaled by rows has the weight's scales here.
     */
    void quantize(Fp8Matrix to, Tensor from, Optional<Tensor> factors);

    /**
     * Transposes a weight's codes, and its scales where blocks share them. With scales by rows they
     * are left out: where this matrix is multiplied, they are factors of the activations, and so
     * the weight is not rounded a second time.
     *
     * @param to [c,r] with {@link Scaling#ofTranspose}; overwritten
     * @param from [r,c]
     */
    void transpose(Fp8Matrix to, Fp8Matrix from);

    /**
     * out[T,N] (+)= x[T,K]·weight[N,K]ᵀ, summed in f32. An FP8 product cannot read bf16 borders, so
     * a layer's low-rank term is in {@code out} before, and this adds to it.
     *
     * @param out f32 or bf16
     * @param x with {@link Scaling#ofActivations} of the weight
     */
    void multiply(Tensor out, Fp8Matrix x, Fp8Matrix weight, boolean accumulate);

    /** to[r,c], f32 or bf16: code · scale in f32, rounded once. */
    void dequantize(Tensor to, Fp8Matrix from);
}
