package jlora.trainer.config;

import java.util.List;

/**
 * A configuration record was built with a value that it refuses. The message is a sentence without
 * a place; the loader adds the file and line of {@link #keys}, most telling key first.
 */
public final class BadValueException extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    private final transient List<String> keys;

    public BadValueException(List<String> keys, String problem) {
        super(problem);
        this.keys = List.copyOf(keys);
    }

    public List<String> keys() {
        return keys == null ? List.of() : keys;
    }
}
