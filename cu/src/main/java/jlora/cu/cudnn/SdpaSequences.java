package jlora.cu.cudnn;

/**
 * Device arrays that say where the sequences of a batch lie. They are data: a captured graph reads
 * what they hold when it runs. With cu[0..S] the first row of each sequence (cu[S] the row after
 * the last one; sequences that a batch does not have are empty and come last), a kernel writes
 *
 * <pre>
 * lengths[i]     = cu[i + 1] - cu[i]           i32, i in 0..S-1
 * offsets[j][i]  = (i64) cu[i] * stride[j]     i64, i in 0..S
 * </pre>
 *
 * with the strides, in elements, of qkv, out, lse (the number of heads), dOut and dQkv. Forward
 * does not read the last two. Addresses are aligned to 16 bytes.
 */
public record SdpaSequences(
        long lengths,
        long qkvOffsets,
        long outOffsets,
        long lseOffsets,
        long dOutOffsets,
        long dQkvOffsets) {
    /** Tensors with offsets, in the order above. */
    public static final int OFFSET_ROWS = 5;

    private static final int ALIGNMENT = 16;

    /** All arrays in one block: offsets [5][S + 1], each row aligned, then lengths. */
    public static SdpaSequences at(long address, int sequences) {
        long row = row(sequences);
        return new SdpaSequences(
                address + OFFSET_ROWS * row,
                address,
                address + row,
                address + 2 * row,
                address + 3 * row,
                address + 4 * row);
    }

    /** Bytes of that block. */
    public static long bytes(int sequences) {
        return OFFSET_ROWS * row(sequences) + (long) sequences * Integer.BYTES;
    }

    /** Bytes from one row of offsets to the next. */
    public static long row(int sequences) {
        return (Math.multiplyExact(sequences + 1L, Long.BYTES) + ALIGNMENT - 1)
                / ALIGNMENT
                * ALIGNMENT;
    }

    /** Those that begin at a later sequence. */
    SdpaSequences from(int sequence) {
        long offset = (long) sequence * Long.BYTES;
        return new SdpaSequences(
                lengths + (long) sequence * Integer.BYTES,
                qkvOffsets + offset,
                outOffsets + offset,
                lseOffsets + offset,
                dOutOffsets + offset,
                dQkvOffsets + offset);
    }
}
