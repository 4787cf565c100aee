package jlora.trainer.metrics;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;

/**
 * Something that a run tells: a sentence for people, and a name with fields for programs.
 *
 * @param name what happened, in snake_case, such as {@code checkpoint}
 * @param text the same in words; without a line end
 * @param fields what a program may want to know: numbers, strings, booleans or Jackson's nodes, in
 *     the order given
 */
public record RunEvent(Level level, String name, String text, Map<String, Object> fields) {
    /** How much it matters. The text form begins with {@link #prefix}. */
    public enum Level {
        INFO(""),
        NOTICE("note: "),
        WARNING("warning: "),
        ERROR("jlora: ");

        private final String prefix;

        Level(String prefix) {
            this.prefix = prefix;
        }

        /** What a line of text begins with. */
        public String prefix() {
            return prefix;
        }
    }

    /** Fields that every JSON line has. */
    private static final Set<String> RESERVED = Set.of("time", "level", "event", "message");

    public RunEvent {
        if (!name.matches("[a-z][a-z0-9_]*")) {
            throw new IllegalArgumentException("an event cannot be named '" + name + "'");
        }
        fields = Collections.unmodifiableMap(new LinkedHashMap<>(fields));
        for (String field : fields.keySet()) {
            if (RESERVED.contains(field)) {
                throw new IllegalArgumentException("every event has a field " + field + " already");
            }
        }
    }

    public static RunEvent info(String name, String text) {
        return new RunEvent(Level.INFO, name, text, Map.of());
    }

    /** What a user should know, and need not act on. */
    public static RunEvent note(String text) {
        return new RunEvent(Level.NOTICE, "note", text, Map.of());
    }

    public static RunEvent warning(String name, String text) {
        return new RunEvent(Level.WARNING, name, text, Map.of());
    }

    public static RunEvent error(String text) {
        return new RunEvent(Level.ERROR, "error", text, Map.of());
    }

    /** The same event with one more field. */
    public RunEvent with(String field, Object value) {
        Map<String, Object> more = new LinkedHashMap<>(fields);
        more.put(field, value);
        return new RunEvent(level, name, text, more);
    }
}
