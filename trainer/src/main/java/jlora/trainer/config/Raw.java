package jlora.trainer.config;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Configuration text before it has types: a YAML tree or a command-line value, each node with its
 * place.
 */
sealed interface Raw {
    Place place();

    /** A scalar; only a plain (unquoted) one may become a number, a boolean or null. */
    record Scalar(String text, boolean plain, Place place) implements Raw {
        boolean isNull() {
            return plain && (text.isEmpty() || text.equals("~") || text.equalsIgnoreCase("null"));
        }
    }

    /** A sequence, whose elements the command line may replace or extend. */
    record Sequence(List<Raw> elements, Place place) implements Raw {
        public Sequence {
            elements = new ArrayList<>(elements);
        }
    }

    /** A mapping in the order written. */
    record Mapping(Map<String, Entry> entries, Place place) implements Raw {
        public Mapping {
            entries = new LinkedHashMap<>(entries);
        }
    }

    /** One entry of a mapping: the value, and where its key stands. */
    record Entry(Raw value, Place keyPlace) {}

    /** What the node is, to say what was found where something else was expected. */
    default String describe() {
        return switch (this) {
            case Scalar s when s.isNull() -> "empty";
            case Scalar s ->
                    "'" + (s.text.length() > 60 ? s.text.substring(0, 57) + "..." : s.text) + "'";
            case Sequence _ -> "a list";
            case Mapping _ -> "a mapping of keys to values";
        };
    }
}
