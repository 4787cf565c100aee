package jlora.trainer.data.format;

import jlora.runtime.JloraException;
import jlora.trainer.data.EncodeOptions;
import jlora.trainer.data.Example;

import java.util.List;
import java.util.Optional;

/**
 * Pre-tokenised rows, taken exactly as they are: {@code input_ids}, {@code labels} aligned with
 * them (−100 has no loss; the loss does the shift), and an optional {@code attention_mask} of 0 and
 * 1.
 */
final class TokensFormat implements DatasetFormat {
    private static final String IDS = "input_ids";
    private static final String LABELS = "labels";
    private static final String MASK = "attention_mask";

    @Override
    public String name() {
        return "tokens";
    }

    @Override
    public List<String> fields() {
        return List.of(IDS, LABELS, MASK);
    }

    @Override
    public boolean needsTokenizer() {
        return false;
    }

    @Override
    public EncodedRow encode(JsonRow row, EncodeOptions options) {
        int[] ids = row.integers(IDS);
        int[] labels = row.integers(LABELS);
        Optional<int[]> mask = row.optionalIntegers(MASK);
        if (ids.length == 0) {
            throw row.corrupt("input_ids is empty; remove the row");
        }
        checkLength(row, LABELS, labels.length, ids.length);
        mask.ifPresent(m -> checkLength(row, MASK, m.length, ids.length));
        if (ids.length > options.maxLength()) {
            throw row.corrupt(
                    "the row has "
                            + ids.length
                            + " tokens but at most "
                            + options.maxLength()
                            + " are allowed; shorten it, or raise max_length if the model allows"
                            + " more");
        }
        for (int t = 0; t < ids.length; t++) {
            if (ids[t] < 0 || ids[t] >= options.vocabSize()) {
                throw outside(row, IDS, t, ids[t], "0", options);
            }
            if (labels[t] != Example.IGNORED
                    && (labels[t] < 0 || labels[t] >= options.vocabSize())) {
                throw outside(row, LABELS, t, labels[t], "-100 or 0", options);
            }
        }
        return new EncodedRow(
                new Example(ids, labels, mask.map(m -> binary(row, m)).orElse(null), row.line()),
                false,
                false);
    }

    private static void checkLength(JsonRow row, String field, int length, int expected) {
        if (length != expected) {
            throw row.corrupt(
                    field
                            + " has "
                            + length
                            + " entries but input_ids has "
                            + expected
                            + "; give each token one");
        }
    }

    /** The mask, or null when it masks nothing. */
    private static int[] binary(JsonRow row, int[] mask) {
        boolean masks = false;
        for (int t = 0; t < mask.length; t++) {
            if (mask[t] != 0 && mask[t] != 1) {
                throw row.corrupt(
                        "attention_mask[" + t + "] is " + mask[t] + "; it has to be 0 or 1");
            }
            masks |= mask[t] == 0;
        }
        return masks ? mask : null;
    }

    private static JloraException outside(
            JsonRow row, String field, int t, int value, String low, EncodeOptions options) {
        return row.corrupt(
                field
                        + "["
                        + t
                        + "] is "
                        + value
                        + " but has to be "
                        + low
                        + " to "
                        + (options.vocabSize() - 1)
                        + " for this model's vocabulary; tokenise the data with the model's"
                        + " tokenizer");
    }
}
