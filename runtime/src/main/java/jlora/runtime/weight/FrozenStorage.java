package jlora.runtime.weight;

import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.Fp8Matrix;

import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;

/**
 * How the frozen matrices of a model's layers stay in memory. Embeddings, norms, biases and the
 * output head stay as they are, as in bitsandbytes.
 *
 * @param form their elements
 * @param inHostMemory whether they stay in page-locked memory of the host and come to the device
 *     ahead of use
 */
public record FrozenStorage(Form form, boolean inHostMemory) {
    /** What matrices are stored as. */
    public sealed interface Form {
        /** As the products read them. */
        record Plain() implements Form {
            @Override
            public String describe() {
                return "";
            }
        }

        /**
         * Four bits an element, expanded ahead of use (QLoRA, arXiv 2305.14314).
         *
         * @param type what the codes mean
         * @param doubleQuant whether scales take eight bits
         */
        record FourBit(FourBitMatrix.Type type, boolean doubleQuant) implements Form {
            @Override
            public String describe() {
                return type.name().toLowerCase(Locale.ROOT) + (doubleQuant ? DOUBLE : "");
            }
        }

        /**
         * FP8 (E4M3), read by the products as it is.
         *
         * @param scaling which elements share a scale: those of a row, or of a block
         */
        record Fp8(Fp8Matrix.Scaling scaling) implements Form {
            @Override
            public String describe() {
                return scaling == Fp8Matrix.Scaling.ROW ? "fp8 by rows" : "fp8 by blocks";
            }
        }

        /** In words, by which {@link #of} knows it again; empty for what is plain. */
        String describe();

        /** What {@link #describe} said; empty for words that it never says. */
        static Optional<Form> of(String words) {
            for (Fp8Matrix.Scaling scaling :
                    List.of(Fp8Matrix.Scaling.ROW, Fp8Matrix.Scaling.BLOCK)) {
                if (new Fp8(scaling).describe().equals(words)) {
                    return Optional.of(new Fp8(scaling));
                }
            }
            for (FourBitMatrix.Type type : FourBitMatrix.Type.values()) {
                for (boolean doubled : new boolean[] {false, true}) {
                    Form form = new FourBit(type, doubled);
                    if (form.describe().equals(words)) {
                        return Optional.of(form);
                    }
                }
            }
            return Optional.empty();
        }
    }

    private static final String DOUBLE = ", double quantised";

    public FrozenStorage {
        Objects.requireNonNull(form);
    }

    /** As the products read them, in the device's own memory. */
    public static FrozenStorage plain() {
        return new FrozenStorage(new Form.Plain(), false);
    }
}
