package jlora.trainer.data;

import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** The rows of a data set, or a selection of them that shares their memory. Immutable. */
public final class Examples {
    private final ExampleStore store;
    private final int[] rows;

    private Examples(ExampleStore store, int[] rows) {
        this.store = store;
        this.rows = rows;
    }

    static Examples of(ExampleStore store) {
        return new Examples(store, IntStream.range(0, store.size()).toArray());
    }

    public static Examples of(List<Example> examples) {
        var store = new ExampleStore();
        examples.forEach(store::add);
        return of(store);
    }

    public int size() {
        return rows.length;
    }

    /** Row i, copied out of the store. */
    public Example get(int i) {
        return store.get(rows[i]);
    }

    /** Tokens that a batch carries of row i. */
    public int neededTokens(int i) {
        return store.neededTokens(rows[i]);
    }

    /** Labels of row i that count in the loss. */
    public int trainedTokens(int i) {
        return store.trainedTokens(rows[i]);
    }

    /** Tokens that batches carry of all rows. */
    public long tokens() {
        return Arrays.stream(rows).mapToLong(store::neededTokens).sum();
    }

    public long trainedTokens() {
        return Arrays.stream(rows).mapToLong(store::trainedTokens).sum();
    }

    /** Rows without a label that counts. */
    public int allMaskedRows() {
        return (int) Arrays.stream(rows).filter(row -> store.trainedTokens(row) == 0).count();
    }

    /** Most tokens that a batch carries of one row. */
    public int longest() {
        return Arrays.stream(rows).map(store::neededTokens).max().orElse(0);
    }

    /** Feeds ids, labels and masks of all rows to a digest, in order. */
    public void digest(MessageDigest digest) {
        for (int i = 0; i < rows.length; i++) {
            Example row = get(i);
            int[] mask = row.attentionMask() == null ? new int[0] : row.attentionMask();
            ByteBuffer bytes =
                    ByteBuffer.allocate(Integer.BYTES * (2 + 2 * row.length() + mask.length));
            bytes.putInt(row.length()).putInt(mask.length);
            bytes.asIntBuffer().put(row.inputIds()).put(row.labels()).put(mask);
            digest.update(bytes.array());
        }
    }

    /** The training rows and the rows held out from them. */
    public record Split(Examples train, Examples heldOut) {}

    /**
     * Holds {@code count} rows out: those that {@link RowOrder} puts first for this seed. Both
     * parts keep the file's order.
     */
    public Split holdOut(int count, long seed) {
        if (count < 1 || count >= size()) {
            throw new IllegalArgumentException(
                    "cannot hold " + count + " of " + size() + " rows out");
        }
        int[] order = RowOrder.forSplit(size(), seed);
        int[] heldOut = Arrays.copyOf(order, count);
        int[] train = Arrays.copyOfRange(order, count, order.length);
        Arrays.sort(heldOut);
        Arrays.sort(train);
        return new Split(select(train), select(heldOut));
    }

    /**
     * Holds a share between 0 and 1 out, rounded up to whole rows, as scikit-learn and Hugging Face
     * datasets do.
     */
    public Split holdOut(double share, long seed) {
        if (!(share > 0 && share < 1)) {
            throw new IllegalArgumentException("cannot hold a share of " + share + " out");
        }
        return holdOut((int) Math.ceil(share * size()), seed);
    }

    private Examples select(int[] selection) {
        return new Examples(store, Arrays.stream(selection).map(i -> rows[i]).toArray());
    }
}
