package jlora.trainer.data.format;

import jlora.trainer.data.EncodeOptions;
import jlora.trainer.data.Tokenizer;

import java.util.Arrays;
import java.util.List;

/**
 * A prompt and what should follow it. As in TRL, nothing is put between the two, both are tokenised
 * as one text, an end of sequence is appended, and the loss is on the completion alone unless
 * {@code completion_only_loss: false}.
 *
 * <p>Where the completion begins: the prompt is tokenised alone too, and its ids are masked. A
 * tokenizer may merge the prompt's end with the completion's beginning; then the ids part before
 * the prompt's end, and from there on there is loss: the merged token holds a part of the
 * completion, and masking by the prompt's token count (TRL) could hide it. Such rows are counted.
 */
final class PromptCompletionFormat implements DatasetFormat {
    private static final String PROMPT = "prompt";
    private static final String COMPLETION = "completion";

    @Override
    public String name() {
        return "prompt_completion";
    }

    @Override
    public List<String> fields() {
        return List.of(PROMPT, COMPLETION);
    }

    @Override
    public boolean needsTokenizer() {
        return true;
    }

    @Override
    public EncodedRow encode(JsonRow row, EncodeOptions options) {
        Tokenizer tokenizer = options.tokenizer().orElseThrow();
        String prompt = row.text(PROMPT);
        int[] ids = tokenizer.encode(prompt + row.text(COMPLETION), true);
        int masked = 0;
        boolean merged = false;
        if (options.completionOnlyLoss()) {
            int[] promptIds = tokenizer.encodeBeginning(prompt);
            int parting = Arrays.mismatch(promptIds, ids);
            merged = parting >= 0 && parting < promptIds.length;
            masked = merged ? parting : promptIds.length;
        }
        return TokenLimits.row(row, TokenLimits.withEos(ids, options), masked, merged, options);
    }
}
