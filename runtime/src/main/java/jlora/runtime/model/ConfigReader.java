package jlora.runtime.model;

import com.fasterxml.jackson.databind.JsonNode;

import jlora.runtime.JloraException;

import java.util.Optional;

/** Typed access to a config.json, with errors that name the field. */
public final class ConfigReader {
    private final String where;
    private final JsonNode root;

    /**
     * @param where the file, for messages
     */
    public ConfigReader(String where, JsonNode root) {
        this.where = where;
        this.root = root;
    }

    /** A nested object, such as {@code rope_scaling}; empty when absent or null. */
    public Optional<ConfigReader> object(String key) {
        return field(key)
                .map(
                        node -> {
                            if (!node.isObject()) {
                                throw bad(key, "an object", node);
                            }
                            return new ConfigReader(where + ": " + key, node);
                        });
    }

    public boolean has(String key) {
        return field(key).isPresent();
    }

    public int positive(String key) {
        return positive(key, Optional.empty());
    }

    public int positive(String key, int otherwise) {
        return positive(key, Optional.of(otherwise));
    }

    private int positive(String key, Optional<Integer> otherwise) {
        Optional<JsonNode> node = field(key);
        if (node.isEmpty()) {
            return otherwise.orElseThrow(() -> missing(key));
        }
        if (!node.get().canConvertToInt()
                || !node.get().isIntegralNumber()
                || node.get().intValue() <= 0) {
            throw bad(key, "a positive integer", node.get());
        }
        return node.get().intValue();
    }

    public double number(String key, double otherwise) {
        return field(key).map(node -> finite(key, node)).orElse(otherwise);
    }

    public double number(String key) {
        return field(key).map(node -> finite(key, node)).orElseThrow(() -> missing(key));
    }

    private double finite(String key, JsonNode node) {
        if (!node.isNumber() || !Double.isFinite(node.doubleValue())) {
            throw bad(key, "a number", node);
        }
        return node.doubleValue();
    }

    public boolean flag(String key, boolean otherwise) {
        return field(key)
                .map(
                        node -> {
                            if (!node.isBoolean()) {
                                throw bad(key, "true or false", node);
                            }
                            return node.booleanValue();
                        })
                .orElse(otherwise);
    }

    public String text(String key, String otherwise) {
        return field(key)
                .map(
                        node -> {
                            if (!node.isTextual()) {
                                throw bad(key, "a string", node);
                            }
                            return node.textValue();
                        })
                .orElse(otherwise);
    }

    private Optional<JsonNode> field(String key) {
        JsonNode node = root.get(key);
        return node == null || node.isNull() ? Optional.empty() : Optional.of(node);
    }

    /** A field whose value this architecture cannot honour. */
    public JloraException unsupported(String key, String value, String supported) {
        return JloraException.usage(
                where
                        + ": "
                        + key
                        + " "
                        + value
                        + " is not supported; jlora supports "
                        + supported
                        + ".");
    }

    private JloraException missing(String key) {
        return JloraException.corrupt(
                where
                        + ": the field "
                        + key
                        + " is missing; take the config.json that belongs to the checkpoint.");
    }

    private JloraException bad(String key, String wanted, JsonNode node) {
        return JloraException.corrupt(
                where + ": " + key + " must be " + wanted + ", but is " + node + ".");
    }
}
