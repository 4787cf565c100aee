package jlora.runtime.weight;

import jlora.runtime.tensor.Tensor;

import java.util.Objects;

/**
 * A tensor of a Hugging Face checkpoint and where it belongs.
 *
 * @param name its name in the checkpoint, such as {@code model.layers.0.self_attn.q_proj.weight}
 * @param held where it is, [out,in] for matrices: as a whole, or some of its rows, or quantised
 * @param transposed true when the checkpoint stores [in,out], as GPT-2's Conv1D does
 * @param init how random initialisation fills it
 */
public record CheckpointTensor(String name, Held held, boolean transposed, Init init) {
    /**
     * What random initialisation draws: zeros, ones, or a normal distribution with the model's
     * standard deviation.
     */
    public enum Init {
        ZEROS,
        ONES,
        NORMAL
    }

    public CheckpointTensor {
        Objects.requireNonNull(name);
        Objects.requireNonNull(held);
    }

    /** The view that holds it, or what is here of it; not for what is quantised. */
    public Tensor target() {
        if (held instanceof HeldRows rows) {
            return rows.here();
        }
        throw new IllegalStateException(name + " is quantised, no tensor holds its values");
    }

    /** Rows of the whole tensor, wherever they are. */
    public long rows() {
        return held.of();
    }

    public long cols() {
        return held.cols();
    }

    /** Elements of the whole tensor. */
    public long elements() {
        return rows() * cols();
    }

    /** True when all of it is here, and has not been rounded to fewer bits. */
    public boolean exact() {
        return held instanceof HeldRows && held.whole();
    }
}
