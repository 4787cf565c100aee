package jlora.trainer.data;

import java.util.Objects;
import java.util.Optional;

/**
 * What rows are measured against while they are read.
 *
 * @param tokenizer needed by the text types alone
 * @param vocabSize rows of the model's embedding: ids must be below
 * @param maxLength most tokens of a row; longer text is cut at its end, longer pre-tokenised rows
 *     are an error
 * @param completionOnlyLoss whether prompts are masked out of the loss
 */
public record EncodeOptions(
        Optional<Tokenizer> tokenizer, int vocabSize, int maxLength, boolean completionOnlyLoss) {
    public EncodeOptions {
        Objects.requireNonNull(tokenizer, "tokenizer");
        if (vocabSize < 1 || maxLength < 1) {
            throw new IllegalArgumentException(
                    "vocabulary of " + vocabSize + ", max_length " + maxLength);
        }
    }
}
