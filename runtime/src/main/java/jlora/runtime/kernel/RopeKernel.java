package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

/**
 * Rotary position embedding (arXiv 2104.09864) in the half-split layout of Hugging Face
 * checkpoints: within a head of size D, element i is rotated with element i + D/2. Works on the
 * fused [q | k | v] rows: queries and keys are rotated, values pass through, so that the product's
 * output is read and written once.
 */
public interface RopeKernel {
    /**
     * table[T,D] f32: cos(positions[t]·inverseFrequencies[i]) · scaling in columns 0..D/2, sin
     * likewise in D/2..D.
     *
     * @param positions i32 [1,T]
     * @param inverseFrequencies f32 [1,D/2]; the angle is the f32 product, as in Transformers
     */
    void table(Tensor table, Tensor positions, Tensor inverseFrequencies, float scaling);

    /** out = [rotate(q) | rotate(k) | v], all [T,(heads + 2·kvHeads)·D]. */
    void forward(Tensor out, Tensor qkv, Tensor table, AttentionShape shape);

    /** dQkv = the inverse rotation of dOut; the values' gradient passes through. */
    void backward(Tensor dQkv, Tensor dOut, Tensor table, AttentionShape shape);
}
