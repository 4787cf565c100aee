package jlora.trainer.loop;

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
}
