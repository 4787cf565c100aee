package jlora.runtime.io;

import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.SortedMap;

/**
 * A short name for a set of weights, the same however they are split into files: {@code
 * sampled-sha256:} and the SHA-256 over every tensor, sorted by name: name, type, shape, and its
 * bytes, all of them up to 1 MiB, else 16 evenly spaced blocks of 4 KiB that include the first and
 * the last. An 8B model costs 20 MB of reading; a change confined to bytes between the blocks is
 * not seen.
 */
public final class Fingerprint {
    private static final long WHOLE = 1 << 20;
    private static final int BLOCKS = 16;
    private static final int BLOCK = 4096;

    private Fingerprint() {}

    /** A fresh digest. */
    public static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    /** The fingerprint of these tensors. */
    public static String of(SortedMap<String, SafetensorsEntry> tensors) {
        MessageDigest digest = sha256();
        for (SafetensorsEntry entry : tensors.values()) {
            String head =
                    entry.name()
                            + "\0"
                            + entry.type()
                            + "\0"
                            + Arrays.toString(entry.shape())
                            + "\0";
            digest.update(head.getBytes(StandardCharsets.UTF_8));
            MemorySegment data = entry.data();
            if (data.byteSize() <= WHOLE) {
                digest.update(data.asByteBuffer());
            } else {
                long last = data.byteSize() - BLOCK;
                for (int i = 0; i < BLOCKS; i++) {
                    long at = last / (BLOCKS - 1) * i;
                    digest.update(data.asSlice(i == BLOCKS - 1 ? last : at, BLOCK).asByteBuffer());
                }
            }
        }
        return "sampled-sha256:" + HexFormat.of().formatHex(digest.digest());
    }
}
