package jlora.runtime.weight;

import jlora.runtime.kernel.FourBitMatrix;

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

        /** In words, by which {@link #of} knows it again; empty for what is plain. */
        String describe();

        /** What {@link #describe} said; empty for words that it never says. */
        static Optional<Form> of(String words) {
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
