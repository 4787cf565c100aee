package jlora.trainer.launch;

import java.util.LinkedHashMap;
import java.util.Map;

/** Objects of a manifest, whose keys stay in the order in which they are given. */
final class Maps {
    private Maps() {}

    /** A map that can be filled further: key, value, key, value, …. */
    static Map<String, Object> of(Object... keysAndValues) {
        Map<String, Object> map = new LinkedHashMap<>();
        for (int i = 0; i < keysAndValues.length; i += 2) {
            map.put((String) keysAndValues[i], keysAndValues[i + 1]);
        }
        return map;
    }
}
