package jlora.trainer.data;

import java.util.ArrayList;
import java.util.List;

/**
 * An append-only list of ints that may grow past two billion entries and never copies what it
 * holds.
 */
final class IntLog {
    private static final int BITS = 18;
    private static final int BLOCK = 1 << BITS;

    private final List<int[]> blocks = new ArrayList<>();
    private long size;

    long size() {
        return size;
    }

    /** Appends the values and gives the place of the first. */
    long append(int[] values) {
        long start = size;
        int done = 0;
        while (done < values.length) {
            int at = (int) (size & (BLOCK - 1));
            if (at == 0) {
                blocks.add(new int[BLOCK]);
            }
            int count = Math.min(BLOCK - at, values.length - done);
            System.arraycopy(values, done, blocks.getLast(), at, count);
            done += count;
            size += count;
        }
        return start;
    }

    int[] read(long start, int length) {
        if (start < 0 || length < 0 || start + length > size) {
            throw new IndexOutOfBoundsException(start + " + " + length + " of " + size);
        }
        int[] out = new int[length];
        int done = 0;
        while (done < length) {
            long place = start + done;
            int at = (int) (place & (BLOCK - 1));
            int count = Math.min(BLOCK - at, length - done);
            System.arraycopy(blocks.get((int) (place >>> BITS)), at, out, done, count);
            done += count;
        }
        return out;
    }
}
