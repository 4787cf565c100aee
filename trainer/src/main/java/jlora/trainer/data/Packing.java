package jlora.trainer.data;

import java.util.Arrays;
import java.util.BitSet;

/**
 * Rows sorted into bins of a fixed number of tokens by best-fit decreasing (Johnson et al., SIAM J.
 * Comput. 3(4), 1974): longest first, each into the fullest bin that has room. At most 11/9 of the
 * best possible number of bins, plus four ninths. Rows are never split; rows without a token get no
 * bin.
 *
 * @param starts bin b holds rows[starts[b]] to rows[starts[b + 1] − 1]
 * @param rows ascending within a bin; bins ascend by their first row
 */
record Packing(int[] starts, int[] rows) {
    int bins() {
        return starts.length - 1;
    }

    /** Packs rows of these lengths; equal lengths go in the order of their rows. */
    static Packing bestFitDecreasing(int[] lengths, int capacity) {
        int[] order = descending(lengths, capacity);
        int[] binOf = new int[lengths.length];
        Arrays.fill(binOf, -1);
        // open[r] is the newest bin with room for r more tokens, linked to the next newest one.
        BitSet rooms = new BitSet(capacity + 1);
        int[] open = new int[capacity + 1];
        int[] nextOpen = new int[order.length];
        Arrays.fill(open, -1);
        int bins = 0;
        for (int row : order) {
            int room = rooms.nextSetBit(lengths[row]);
            int bin;
            if (room < 0) {
                bin = bins++;
                room = capacity;
            } else {
                bin = open[room];
                open[room] = nextOpen[bin];
                if (open[room] < 0) {
                    rooms.clear(room);
                }
            }
            binOf[row] = bin;
            int left = room - lengths[row];
            if (left > 0) {
                nextOpen[bin] = open[left];
                open[left] = bin;
                rooms.set(left);
            }
        }
        return gathered(binOf, bins, order.length);
    }

    // Counting sort: stable, and linear however many rows there are.
    private static int[] descending(int[] lengths, int capacity) {
        int[] place = new int[capacity + 2];
        int placed = 0;
        for (int length : lengths) {
            if (length < 0 || length > capacity) {
                throw new IllegalArgumentException(
                        "a row of " + length + " tokens does not fit a bin of " + capacity);
            }
            place[capacity - length + 1]++;
            placed += length > 0 ? 1 : 0;
        }
        for (int i = 1; i < place.length; i++) {
            place[i] += place[i - 1];
        }
        int[] order = new int[placed];
        for (int row = 0; row < lengths.length; row++) {
            if (lengths[row] > 0) {
                order[place[capacity - lengths[row]]++] = row;
            }
        }
        return order;
    }

    // Bins are renumbered by their first row, so that without a shuffle the file's order shows
    // through.
    private static Packing gathered(int[] binOf, int bins, int placed) {
        int[] renumbered = new int[bins];
        Arrays.fill(renumbered, -1);
        int[] starts = new int[bins + 1];
        int seen = 0;
        for (int bin : binOf) {
            if (bin >= 0) {
                if (renumbered[bin] < 0) {
                    renumbered[bin] = seen++;
                }
                starts[renumbered[bin] + 1]++;
            }
        }
        for (int b = 0; b < bins; b++) {
            starts[b + 1] += starts[b];
        }
        int[] next = Arrays.copyOf(starts, bins);
        int[] rows = new int[placed];
        for (int row = 0; row < binOf.length; row++) {
            if (binOf[row] >= 0) {
                rows[next[renumbered[binOf[row]]]++] = row;
            }
        }
        return new Packing(starts, rows);
    }
}
