package jlora.trainer.data.format;

import jlora.trainer.data.EncodeOptions;

import java.util.List;

/**
 * Language modelling: one text a row, loss on every token. As in TRL, the text gets the tokenizer's
 * special tokens and an end of sequence, and is cut at its end to max_length.
 */
final class TextFormat implements DatasetFormat {
    private static final String TEXT = "text";

    @Override
    public String name() {
        return "text";
    }

    @Override
    public List<String> fields() {
        return List.of(TEXT);
    }

    @Override
    public boolean needsTokenizer() {
        return true;
    }

    @Override
    public EncodedRow encode(JsonRow row, EncodeOptions options) {
        int[] ids = options.tokenizer().orElseThrow().encode(row.text(TEXT), true);
        return TokenLimits.row(row, TokenLimits.withEos(ids, options), 0, false, options);
    }
}
