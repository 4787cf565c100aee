package jlora.trainer.loop;

import jlora.runtime.io.Fingerprint;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.Map;
import java.util.TreeMap;

/**
 * An adapter's numbers on the host, f32, by module path.
 *
 * @param modules a module's A [r,in] and B [out,r], row by row
 */
public record AdapterValues(Map<String, Pair> modules) {
    /** A and B of one module. */
    public record Pair(float[] a, float[] b) {}

    public AdapterValues {
        modules = new TreeMap<>(modules);
    }

    /** SHA-256 of names and numbers, in hexadecimal. */
    public String fingerprint() {
        MessageDigest digest = Fingerprint.sha256();
        modules.forEach(
                (module, pair) -> {
                    digest.update(module.getBytes(StandardCharsets.UTF_8));
                    digest.update(bytes(pair.a));
                    digest.update(bytes(pair.b));
                });
        return HexFormat.of().formatHex(digest.digest());
    }

    private static byte[] bytes(float[] values) {
        return MemorySegment.ofArray(values).toArray(ValueLayout.JAVA_BYTE);
    }
}
