package jlora.runtime.weight;

import jlora.runtime.tensor.Tensor;

/**
 * A tensor of a Hugging Face checkpoint and where it belongs.
 *
 * @param name its name in the checkpoint, such as {@code model.layers.0.self_attn.q_proj.weight}
 * @param target the view that holds it, [out,in] for matrices
 * @param transposed true when the checkpoint stores [in,out], as GPT-2's Conv1D does
 * @param init how random initialisation fills it
 */
public record CheckpointTensor(String name, Tensor target, boolean transposed, Init init) {
    /**
     * What random initialisation draws: zeros, ones, or a normal distribution with the model's
     * standard deviation.
     */
    public enum Init {
        ZEROS,
        ONES,
        NORMAL
    }
}
