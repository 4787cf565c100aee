package jlora.trainer.data;

import java.util.Arrays;

/**
 * Text of a generation, token by token. A character may be spread over several tokens (byte
 * fallback, byte-level BPE), and a token's text may depend on the one before it (leading spaces):
 * so each piece is the difference of two decodings over a short window, and text that ends in an
 * incomplete character is held back until the character is complete.
 */
public final class StreamDecoder {
    // No character has more than four bytes; held-back tokens beyond that are bytes that will never
    // complete.
    private static final int MAX_HELD = 8;
    private static final char REPLACEMENT = '\uFFFD';

    private final Tokenizer tokenizer;
    private final boolean skipSpecialTokens;
    private int[] ids = new int[64];
    private int count;
    private int windowStart;
    private int emitted;

    public StreamDecoder(Tokenizer tokenizer, boolean skipSpecialTokens) {
        this.tokenizer = tokenizer;
        this.skipSpecialTokens = skipSpecialTokens;
    }

    /** Takes ids as context without giving their text: a prompt, whose continuation follows. */
    public void context(int[] prompt) {
        for (int id : prompt) {
            append(id);
        }
        windowStart = Math.max(windowStart, count - MAX_HELD);
        emitted = count;
    }

    /** Takes the next id and gives the text that became certain by it, often empty. */
    public String add(int id) {
        append(id);
        return next(count - emitted >= MAX_HELD);
    }

    /** The text still held back, replacement characters included. */
    public String finish() {
        return next(true);
    }

    private void append(int id) {
        if (count == ids.length) {
            ids = Arrays.copyOf(ids, 2 * count);
        }
        ids[count++] = id;
    }

    private String next(boolean force) {
        String before = decode(windowStart, emitted);
        String all = decode(windowStart, count);
        boolean incomplete = !all.isEmpty() && all.charAt(all.length() - 1) == REPLACEMENT;
        if (incomplete && !force) {
            return "";
        }
        int same = 0;
        while (same < Math.min(before.length(), all.length())
                && before.charAt(same) == all.charAt(same)) {
            same++;
        }
        // The tokens of this piece are the next one's context. Skipped special tokens are none: a
        // text that follows them
        // alone would look like the beginning, where decoders drop a leading space.
        if (same < all.length()) {
            windowStart = emitted;
        }
        emitted = count;
        return all.substring(same);
    }

    private String decode(int from, int to) {
        return from == to
                ? ""
                : tokenizer.decode(Arrays.copyOfRange(ids, from, to), skipSpecialTokens);
    }
}
