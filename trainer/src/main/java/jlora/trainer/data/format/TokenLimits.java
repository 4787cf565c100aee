package jlora.trainer.data.format;

import jlora.trainer.data.EncodeOptions;
import jlora.trainer.data.Example;

import java.util.Arrays;

/**
 * What every text type does with its ids at the end: check them against the model and cut them to
 * max_length.
 */
final class TokenLimits {
    private TokenLimits() {}

    /** A row of ids whose first {@code masked} have no loss. */
    static EncodedRow row(
            JsonRow row, int[] ids, int masked, boolean boundaryMerged, EncodeOptions options) {
        for (int t = 0; t < ids.length; t++) {
            if (ids[t] >= options.vocabSize()) {
                throw row.corrupt(
                        "the text holds token id "
                                + ids[t]
                                + " but the model's vocabulary has "
                                + options.vocabSize()
                                + " entries; use the tokenizer that belongs to the model");
            }
        }
        boolean truncated = ids.length > options.maxLength();
        int[] kept = truncated ? Arrays.copyOf(ids, options.maxLength()) : ids;
        int[] labels = kept.clone();
        Arrays.fill(labels, 0, Math.min(masked, labels.length), Example.IGNORED);
        return new EncodedRow(
                new Example(kept, labels, null, row.line()), truncated, boundaryMerged);
    }

    /**
     * The ids with the end of sequence behind them, unless they end with it or the tokenizer has
     * none.
     */
    static int[] withEos(int[] ids, EncodeOptions options) {
        var eos = options.tokenizer().orElseThrow().eosId();
        if (eos.isEmpty() || (ids.length > 0 && ids[ids.length - 1] == eos.getAsInt())) {
            return ids;
        }
        int[] out = Arrays.copyOf(ids, ids.length + 1);
        out[ids.length] = eos.getAsInt();
        return out;
    }
}
