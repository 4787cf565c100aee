package jlora.trainer.data;

import java.util.Arrays;

/**
 * All rows of a data set in a few large buffers: four bytes a token and 29 a row when the labels
 * are the ids behind a masked prompt, which is the common case; labels and masks in full only for
 * rows that need them.
 */
final class ExampleStore {
    private static final int[] ALL_ATTENDED = {};

    private final IntLog ids = new IntLog();
    private final IntLog extras = new IntLog();
    private int size;
    private long[] starts = new long[1024];
    // Masked tokens at the row's start, or −1 − (place of the full labels, and the mask, in
    // extras).
    private long[] labelling = new long[1024];
    private boolean[] masked = new boolean[1024];
    private int[] lines = new int[1024];
    private int[] needed = new int[1024];
    private int[] trained = new int[1024];

    void add(Example example) {
        if (size == lines.length) {
            grow(Math.multiplyExact(2, size));
        }
        int[] exampleIds = example.inputIds();
        int[] labels = example.labels();
        int prefix = 0;
        while (prefix < labels.length && labels[prefix] == Example.IGNORED) {
            prefix++;
        }
        starts[size] = ids.append(exampleIds);
        masked[size] = example.attentionMask() != null;
        if (!masked[size]
                && Arrays.equals(
                        labels, prefix, labels.length, exampleIds, prefix, exampleIds.length)) {
            labelling[size] = prefix;
        } else {
            labelling[size] = -1 - extras.append(labels);
            extras.append(masked[size] ? example.attentionMask() : ALL_ATTENDED);
        }
        lines[size] = example.sourceLine();
        needed[size] = example.neededTokens();
        trained[size] = example.trainedTokens();
        size++;
    }

    private void grow(int capacity) {
        starts = Arrays.copyOf(starts, capacity);
        labelling = Arrays.copyOf(labelling, capacity);
        masked = Arrays.copyOf(masked, capacity);
        lines = Arrays.copyOf(lines, capacity);
        needed = Arrays.copyOf(needed, capacity);
        trained = Arrays.copyOf(trained, capacity);
    }

    int size() {
        return size;
    }

    Example get(int row) {
        int length = length(row);
        int[] rowIds = ids.read(starts[row], length);
        int[] labels;
        int[] mask = null;
        if (labelling[row] >= 0) {
            labels = rowIds.clone();
            Arrays.fill(labels, 0, (int) labelling[row], Example.IGNORED);
        } else {
            long place = -1 - labelling[row];
            labels = extras.read(place, length);
            mask = masked[row] ? extras.read(place + length, length) : null;
        }
        return new Example(rowIds, labels, mask, lines[row]);
    }

    int length(int row) {
        long end = row + 1 < size ? starts[row + 1] : ids.size();
        return (int) (end - starts[row]);
    }

    int neededTokens(int row) {
        return needed[row];
    }

    int trainedTokens(int row) {
        return trained[row];
    }
}
