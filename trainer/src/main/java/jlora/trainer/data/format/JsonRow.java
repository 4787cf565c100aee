package jlora.trainer.data.format;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.Json;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** One line of a JSONL file: an object, of which only the fields that its format reads are kept. */
public final class JsonRow {
    private static final JsonFactory JSON =
            JsonFactory.builder()
                    .streamReadConstraints(
                            StreamReadConstraints.builder()
                                    .maxStringLength(Integer.MAX_VALUE)
                                    .build())
                    .build();

    private final Path file;
    private final int line;
    private final Map<String, String> names;
    private final Map<String, Object> values;

    private JsonRow(Path file, int line, Map<String, String> names, Map<String, Object> values) {
        this.file = file;
        this.line = line;
        this.names = names;
        this.values = values;
    }

    /** What stands where a text or a list of integers was expected, in words. */
    private record Other(String what) {}

    /**
     * Reads a line.
     *
     * @param names the file's name of each field that will be asked for
     */
    public static JsonRow parse(Path file, int line, String text, Map<String, String> names) {
        Map<String, Object> values = new HashMap<>();
        Set<String> wanted = Set.copyOf(names.values());
        try (JsonParser parser = JSON.createParser(text)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw corrupt(file, line, "the line is not a JSON object; write one object a line");
            }
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String key = parser.currentName();
                parser.nextToken();
                if (!wanted.contains(key)) {
                    parser.skipChildren();
                } else if (values.put(key, value(parser)) != null) {
                    throw corrupt(file, line, "field '" + key + "' is there twice; keep one");
                }
            }
            if (parser.nextToken() != null) {
                throw corrupt(
                        file, line, "something follows the JSON object; write one object a line");
            }
        } catch (JacksonException e) {
            throw new JloraException(
                    ExitCode.CORRUPT_INPUT,
                    file
                            + ":"
                            + line
                            + ": the line is not valid JSON ("
                            + Json.cause(e)
                            + ", column "
                            + (e.getLocation() == null ? 1 : e.getLocation().getColumnNr())
                            + "); correct or remove it.",
                    e);
        } catch (IOException e) {
            throw new IllegalStateException("reading from memory", e);
        }
        return new JsonRow(file, line, names, values);
    }

    private static Object value(JsonParser parser) throws IOException {
        return switch (parser.currentToken()) {
            case VALUE_STRING -> parser.getText();
            case START_ARRAY -> integers(parser);
            case START_OBJECT -> {
                parser.skipChildren();
                yield new Other("an object");
            }
            case VALUE_NULL -> new Other("null");
            case VALUE_TRUE, VALUE_FALSE -> new Other("a truth value");
            default -> new Other("a number");
        };
    }

    private static Object integers(JsonParser parser) throws IOException {
        int[] out = new int[64];
        int count = 0;
        Other other = null;
        while (parser.nextToken() != JsonToken.END_ARRAY) {
            if (count == out.length) {
                out = Arrays.copyOf(out, 2 * count);
            }
            if (parser.currentToken() == JsonToken.VALUE_NUMBER_INT
                    && parser.getNumberType() == JsonParser.NumberType.INT) {
                out[count] = parser.getIntValue();
            } else {
                String what =
                        parser.currentToken().isStructStart()
                                ? "a nested value"
                                : abbreviated(parser.getText());
                parser.skipChildren();
                if (other == null) {
                    other = new Other("a list whose entry " + count + " is " + what);
                }
            }
            count++;
        }
        return other != null ? other : Arrays.copyOf(out, count);
    }

    private static String abbreviated(String text) {
        return text.length() <= 40 ? text : text.substring(0, 40) + "…";
    }

    /** The text of a field that must be there. */
    public String text(String field) {
        Object value = required(field);
        if (value instanceof String text) {
            return checkedUnicode(field, text);
        }
        throw corrupt(
                "field '" + name(field) + "' is " + described(value) + "; it has to be a text");
    }

    /** The integers of a field that must be there. */
    public int[] integers(String field) {
        return integers(field, required(field));
    }

    /** The integers of a field, or empty when it is missing or null. */
    public Optional<int[]> optionalIntegers(String field) {
        Object value = values.get(name(field));
        return value == null || value.equals(new Other("null"))
                ? Optional.empty()
                : Optional.of(integers(field, value));
    }

    private int[] integers(String field, Object value) {
        if (value instanceof int[] integers) {
            return integers;
        }
        throw corrupt(
                "field '"
                        + name(field)
                        + "' is "
                        + described(value)
                        + "; it has to be a list of integers");
    }

    private Object required(String field) {
        Object value = values.get(name(field));
        if (value == null) {
            throw corrupt(
                    "field '"
                            + name(field)
                            + "' is missing; add it, or name the field that the file has instead");
        }
        return value;
    }

    private String name(String field) {
        return names.getOrDefault(field, field);
    }

    private static String described(Object value) {
        return switch (value) {
            case Other other -> other.what();
            case String text -> "a text";
            default -> "a list";
        };
    }

    // JSON can escape half a surrogate pair, which is no character and which no tokenizer can take.
    private String checkedUnicode(String field, String text) {
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (Character.isSurrogate(c)) {
                if (Character.isHighSurrogate(c)
                        && i + 1 < text.length()
                        && Character.isLowSurrogate(text.charAt(i + 1))) {
                    i++;
                } else {
                    throw corrupt(
                            "field '"
                                    + name(field)
                                    + "' holds half a character (\\u"
                                    + Integer.toHexString(c)
                                    + "); correct the escape");
                }
            }
        }
        return text;
    }

    public int line() {
        return line;
    }

    /** An error in this row; the sentence gets the place in front and a full stop. */
    public JloraException corrupt(String causeAndFix) {
        return corrupt(file, line, causeAndFix);
    }

    private static JloraException corrupt(Path file, int line, String causeAndFix) {
        return JloraException.corrupt(file + ":" + line + ": " + causeAndFix + ".");
    }
}
