package jlora.trainer.data;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * One micro-batch as the training step uploads it. There is no padding between sequences: they lie
 * behind each other, T tokens in all, and {@code cuSeqlens} says where each begins, so attention
 * cannot leak from one into another.
 *
 * <p>It gives the loss of the rectangular batch [B, L] that Hugging Face would build of the same
 * rows. A token with attention mask 0 is left out unless its own prediction is part of the loss;
 * positions stay the indices within the row, whatever the mask says, as in a Transformers training
 * forward.
 *
 * <p>All arrays but cuSeqlens have one entry per token; past {@code tokens} they are padding that
 * belongs to no sequence (id 0, position 0, target −100, key mask 0, adapter −1).
 *
 * @param targets already shifted: the id that the token has to predict, or −100
 * @param cuSeqlens [S+1], non-decreasing: tokens cuSeqlens[i] to cuSeqlens[i+1] are sequence i,
 *     which may be empty
 * @param keyMask 1 where later tokens of the sequence may attend the token
 * @param adapterOfRow the adapter each token uses; −1 is none
 * @param tokens T, without padding
 * @param sequences sequences in the batch, without the empty ones that padding added
 * @param rows what the batch size counts: data rows, or packed bins of them
 * @param trainedTokens targets that are not −100
 */
public record Batch(
        int[] ids,
        int[] positions,
        int[] targets,
        int[] cuSeqlens,
        int[] keyMask,
        int[] adapterOfRow,
        int tokens,
        int sequences,
        int rows,
        int trainedTokens) {
    public Batch {
        int capacity = ids.length;
        if (positions.length != capacity
                || targets.length != capacity
                || keyMask.length != capacity
                || adapterOfRow.length != capacity
                || cuSeqlens.length <= sequences
                || cuSeqlens[sequences] != tokens
                || tokens > capacity) {
            throw new IllegalArgumentException(
                    "batch of " + tokens + " tokens in " + sequences + " sequences does not fit");
        }
    }

    /** The rows one behind the other, without the tokens that cannot influence the loss. */
    public static Batch of(List<Example> examples) {
        return of(examples, examples.size());
    }

    static Batch of(List<Example> examples, int rows) {
        int tokens = 0;
        for (Example example : examples) {
            tokens += example.neededTokens();
        }
        return lay(examples, rows, tokens, false);
    }

    /**
     * The rows with every token, needed for the loss or not: for callers that want an output per
     * token.
     */
    public static Batch ofAllTokens(List<Example> examples) {
        int tokens = 0;
        for (Example example : examples) {
            tokens += example.length();
        }
        return lay(examples, examples.size(), tokens, true);
    }

    private static Batch lay(List<Example> examples, int rows, int tokens, boolean all) {
        int[] ids = new int[tokens];
        int[] positions = new int[tokens];
        int[] targets = new int[tokens];
        int[] keyMask = new int[tokens];
        int[] cuSeqlens = new int[examples.size() + 1];
        int at = 0;
        int trained = 0;
        for (int s = 0; s < examples.size(); s++) {
            Example example = examples.get(s);
            for (int t = 0; t < example.length(); t++) {
                if (!all && !example.needed(t)) {
                    continue;
                }
                ids[at] = example.inputIds()[t];
                positions[at] = t;
                targets[at] = example.target(t);
                keyMask[at] = example.attended(t) ? 1 : 0;
                trained += targets[at] != Example.IGNORED ? 1 : 0;
                at++;
            }
            cuSeqlens[s + 1] = at;
        }
        return new Batch(
                ids,
                positions,
                targets,
                cuSeqlens,
                keyMask,
                new int[tokens],
                tokens,
                examples.size(),
                rows,
                trained);
    }

    /** Whether there is a token that later ones may not attend. */
    public boolean masked() {
        return IntStream.range(0, tokens).anyMatch(t -> keyMask[t] == 0);
    }

    /** Tokens there is room for: T and the padding behind it. */
    public int capacityRows() {
        return ids.length;
    }

    public int capacitySequences() {
        return cuSeqlens.length - 1;
    }

    /**
     * The same batch with room for more: padding rows that belong to no sequence, and empty
     * sequences at the end, so that one plan serves batches of many sizes.
     */
    public Batch padTo(int capacityRows, int capacitySequences) {
        if (capacityRows < tokens || capacitySequences < sequences) {
            throw new IllegalArgumentException(
                    tokens
                            + " tokens in "
                            + sequences
                            + " sequences do not fit into "
                            + capacityRows
                            + " rows and "
                            + capacitySequences
                            + " sequences");
        }
        int[] starts = Arrays.copyOf(cuSeqlens, capacitySequences + 1);
        Arrays.fill(starts, Math.min(sequences + 1, starts.length), starts.length, tokens);
        return new Batch(
                resized(ids, capacityRows, 0),
                resized(positions, capacityRows, 0),
                resized(targets, capacityRows, Example.IGNORED),
                starts,
                resized(keyMask, capacityRows, 0),
                resized(adapterOfRow, capacityRows, -1),
                tokens,
                sequences,
                rows,
                trainedTokens);
    }

    /** The same batch with an adapter for each of its sequences; −1 is none. */
    public Batch withAdapters(int[] adapterOfSequence) {
        if (adapterOfSequence.length != sequences) {
            throw new IllegalArgumentException(
                    adapterOfSequence.length + " adapters for " + sequences + " sequences");
        }
        int[] adapters = new int[ids.length];
        Arrays.fill(adapters, -1);
        for (int s = 0; s < sequences; s++) {
            Arrays.fill(adapters, cuSeqlens[s], cuSeqlens[s + 1], adapterOfSequence[s]);
        }
        return new Batch(
                ids,
                positions,
                targets,
                cuSeqlens,
                keyMask,
                adapters,
                tokens,
                sequences,
                rows,
                trainedTokens);
    }

    private int[] resized(int[] values, int capacity, int padding) {
        int[] out = Arrays.copyOf(values, capacity);
        Arrays.fill(out, tokens, capacity, padding);
        return out;
    }
}
