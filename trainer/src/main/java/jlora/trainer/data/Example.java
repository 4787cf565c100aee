package jlora.trainer.data;

import java.util.Objects;

/**
 * One tokenised row as Hugging Face defines it: {@code labels} are aligned with {@code inputIds},
 * {@link #IGNORED} marks a label without loss, and the loss does the shift: token t predicts
 * labels[t+1]. So labels[0] never counts.
 *
 * @param attentionMask null when every token may be attended, else one 0 or 1 per token
 * @param sourceLine line of the file it came from, from 1; 0 when it did not come from a file
 */
public record Example(int[] inputIds, int[] labels, int[] attentionMask, int sourceLine) {
    /** The label, and the shifted target, that takes no part in the loss. */
    public static final int IGNORED = -100;

    public Example {
        Objects.requireNonNull(inputIds, "inputIds");
        Objects.requireNonNull(labels, "labels");
        if (labels.length != inputIds.length
                || (attentionMask != null && attentionMask.length != inputIds.length)) {
            throw new IllegalArgumentException(
                    "a row of "
                            + inputIds.length
                            + " ids has "
                            + labels.length
                            + " labels"
                            + (attentionMask == null
                                    ? ""
                                    : " and a mask of " + attentionMask.length));
        }
    }

    /** A row without mask, loss on every token but the first. */
    public static Example of(int... inputIds) {
        return new Example(inputIds, inputIds.clone(), null, 0);
    }

    public int length() {
        return inputIds.length;
    }

    /** What token t has to predict: labels[t+1], or {@link #IGNORED}. */
    public int target(int t) {
        return t + 1 < labels.length ? labels[t + 1] : IGNORED;
    }

    /** Whether others may attend token t. */
    public boolean attended(int t) {
        return attentionMask == null || attentionMask[t] != 0;
    }

    /**
     * Whether token t can influence the loss. A token that nobody attends and that predicts nothing
     * cannot, so no batch carries it: that is all that becomes of padding.
     */
    public boolean needed(int t) {
        return attended(t) || target(t) != IGNORED;
    }

    /** Tokens that a batch carries of this row. */
    public int neededTokens() {
        if (attentionMask == null) {
            return inputIds.length;
        }
        int count = 0;
        for (int t = 0; t < inputIds.length; t++) {
            count += needed(t) ? 1 : 0;
        }
        return count;
    }

    /** Labels that count after the shift: the row's share of the mean's denominator. */
    public int trainedTokens() {
        int count = 0;
        for (int t = 1; t < labels.length; t++) {
            count += labels[t] != IGNORED ? 1 : 0;
        }
        return count;
    }
}
