package jlora.runtime.backend.cpu;

import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Transposes matrices of bytes, eight by eight of them in eight words. */
final class ByteTranspose {
    /** Columns that a thread takes at a time: as many bytes as a cache line. */
    private static final int STRIPE = 64;

    private static final int EIGHT = 8;

    /** Byte j of a word is column j, on any machine. */
    private static final ValueLayout.OfLong WORD =
            ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private ByteTranspose() {}

    /** to[c,r] = from[r,c]. */
    static void run(CpuPool pool, Tensor to, Tensor from) {
        pool.run(
                Math.ceilDiv(from.cols(), (long) STRIPE),
                Rows.grain(from.rows() * STRIPE),
                (part, first, end) -> {
                    long[] words = new long[EIGHT];
                    long last = Math.min(from.cols(), end * STRIPE);
                    for (long col = first * STRIPE; col < last; col += STRIPE) {
                        stripe(to, from, col, Math.min(STRIPE, last - col), words);
                    }
                });
    }

    private static void stripe(Tensor to, Tensor from, long col, long cols, long[] words) {
        long wholeRows = from.rows() / EIGHT * EIGHT;
        long wholeCols = cols / EIGHT * EIGHT;
        for (long r = 0; r < wholeRows; r += EIGHT) {
            for (long c = col; c < col + wholeCols; c += EIGHT) {
                square(to, from, r, c, words);
            }
        }
        bytes(to, from, wholeRows, from.rows(), col, col + wholeCols);
        bytes(to, from, 0, from.rows(), col + wholeCols, col + cols);
    }

    private static void square(Tensor to, Tensor from, long row, long col, long[] words) {
        MemorySegment source = from.segment();
        MemorySegment target = to.segment();
        long at = from.byteOffset(row) + col;
        for (int i = 0; i < EIGHT; i++) {
            words[i] = source.get(WORD, at + i * from.stride());
        }
        // Halves of words four apart change places, quarters of words two apart, then bytes.
        exchange(words, 4, 32, 0x00000000FFFFFFFFL);
        exchange(words, 2, 16, 0x0000FFFF0000FFFFL);
        exchange(words, 1, 8, 0x00FF00FF00FF00FFL);
        at = to.byteOffset(col) + row;
        for (int i = 0; i < EIGHT; i++) {
            target.set(WORD, at + i * to.stride(), words[i]);
        }
    }

    /** The upper parts of a word and the lower ones of the word {@code apart} behind it. */
    private static void exchange(long[] words, int apart, int bits, long lower) {
        for (int i = 0; i < EIGHT; i++) {
            if ((i & apart) == 0) {
                long difference = (words[i] >>> bits ^ words[i + apart]) & lower;
                words[i + apart] ^= difference;
                words[i] ^= difference << bits;
            }
        }
    }

    private static void bytes(
            Tensor to, Tensor from, long row, long lastRow, long col, long lastCol) {
        for (long c = col; c < lastCol; c++) {
            for (long r = row; r < lastRow; r++) {
                byte value = from.segment().get(ValueLayout.JAVA_BYTE, from.byteOffset(r) + c);
                to.segment().set(ValueLayout.JAVA_BYTE, to.byteOffset(c) + r, value);
            }
        }
    }
}
