package jlora.trainer.metrics;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.databind.JsonNode;

import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;

/**
 * One JSON object in one line. Doubles are written in the shortest form that reads back as the same
 * double. JSON has no NaN or infinity: such a value becomes null, and {@code non_finite} lists its
 * name.
 */
final class JsonLine {
    private static final JsonFactory FACTORY = new JsonFactory();

    private final StringWriter text = new StringWriter();
    private final JsonGenerator json;
    private final List<String> nonFinite = new ArrayList<>();

    JsonLine() {
        try {
            json = FACTORY.createGenerator(text);
            json.writeStartObject();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    JsonLine put(String name, long value) {
        return write(() -> json.writeNumberField(name, value));
    }

    JsonLine put(String name, double value) {
        if (Double.isFinite(value)) {
            return write(() -> json.writeNumberField(name, value));
        }
        nonFinite.add(name);
        return write(() -> json.writeNullField(name));
    }

    JsonLine put(String name, boolean value) {
        return write(() -> json.writeBooleanField(name, value));
    }

    JsonLine put(String name, String value) {
        return write(() -> json.writeStringField(name, value));
    }

    /** A value by its own kind; what JSON has no kind for is written as its text. */
    JsonLine put(String name, Object value) {
        return switch (value) {
            case Long n -> put(name, n.longValue());
            case Integer n -> put(name, n.longValue());
            case Double n -> put(name, n.doubleValue());
            case Boolean b -> put(name, b.booleanValue());
            case JsonNode node ->
                    write(
                            () -> {
                                json.writeFieldName(name);
                                json.writeRawValue(node.toString());
                            });
            default -> put(name, value.toString());
        };
    }

    JsonLine putNull(String name) {
        return write(() -> json.writeNullField(name));
    }

    /** An array of objects that are JSON already. */
    JsonLine putObjects(String name, List<String> objects) {
        return write(
                () -> {
                    json.writeArrayFieldStart(name);
                    for (String object : objects) {
                        json.writeRawValue(object);
                    }
                    json.writeEndArray();
                });
    }

    /** The object, without a line end. */
    String end() {
        write(
                () -> {
                    if (!nonFinite.isEmpty()) {
                        json.writeArrayFieldStart("non_finite");
                        for (String name : nonFinite) {
                            json.writeString(name);
                        }
                        json.writeEndArray();
                    }
                    json.writeEndObject();
                    json.close();
                });
        return text.toString();
    }

    private interface Write {
        void run() throws IOException;
    }

    private JsonLine write(Write write) {
        try {
            write.run();
        } catch (IOException e) {
            throw new UncheckedIOException("writing to a string cannot fail", e);
        }
        return this;
    }
}
