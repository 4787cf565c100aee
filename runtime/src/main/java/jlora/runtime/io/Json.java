package jlora.runtime.io;

import com.fasterxml.jackson.core.JacksonException;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.JloraException;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Strict JSON (RFC 8259): UTF-8 that really is UTF-8, no duplicate keys, nothing behind the value,
 * at most 64 levels. Every error is one sentence with the file and the line.
 */
public final class Json {
    /**
     * Configuration files beyond this many bytes are refused unread; the largest real ones have a
     * few MB.
     */
    public static final long MAX_FILE_BYTES = 64L << 20;

    private static final JsonFactory FACTORY =
            JsonFactory.builder()
                    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                    // No symbol table: hostile keys with colliding hashes must not cost more than
                    // other keys.
                    .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
                    .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
                    .streamReadConstraints(
                            StreamReadConstraints.builder()
                                    .maxNestingDepth(64)
                                    .maxStringLength((int) MAX_FILE_BYTES)
                                    .build())
                    .build();

    private static final JsonMapper MAPPER =
            JsonMapper.builder(FACTORY)
                    .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
                    .enable(DeserializationFeature.USE_BIG_DECIMAL_FOR_FLOATS)
                    .build();

    private static final ObjectWriter PRETTY =
            MAPPER.writer(
                            new DefaultPrettyPrinter(
                                            Separators.createDefaultInstance()
                                                    .withObjectFieldValueSpacing(
                                                            Separators.Spacing.AFTER)
                                                    .withObjectEmptySeparator("")
                                                    .withArrayEmptySeparator(""))
                                    .withObjectIndenter(new DefaultIndenter("  ", "\n"))
                                    .withArrayIndenter(new DefaultIndenter("  ", "\n")))
                    .with(JsonWriteFeature.ESCAPE_NON_ASCII);

    private Json() {}

    /** A factory with the same strictness, for streaming readers. */
    static JsonFactory factory() {
        return FACTORY;
    }

    /** An empty object to fill. */
    public static ObjectNode object() {
        return MAPPER.createObjectNode();
    }

    /** The object that a file holds. */
    public static ObjectNode readObject(Path file) {
        if (!Files.isRegularFile(file)) {
            throw JloraException.corrupt(
                    file + ": there is no such file; check the path or complete the folder");
        }
        try {
            long size = Files.size(file);
            if (size > MAX_FILE_BYTES) {
                throw JloraException.corrupt(
                        file
                                + ": "
                                + size
                                + " bytes of JSON are more than the "
                                + MAX_FILE_BYTES
                                + " that jlora reads; check that this is the right file");
            }
            return parseObject(file.toString(), 1, Files.readAllBytes(file));
        } catch (IOException e) {
            throw JloraException.corrupt(
                    file + ": cannot be read (" + reason(e) + "); check its permissions and disk");
        }
    }

    /**
     * The object in a piece of a file, such as one line of JSONL.
     *
     * @param file the name for messages
     * @param firstLine the line number of the first byte, for messages
     */
    public static ObjectNode parseObject(String file, long firstLine, byte[] utf8) {
        String text;
        try {
            text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8)).toString();
        } catch (CharacterCodingException e) {
            throw JloraException.corrupt(
                    file + ":" + firstLine + ": the text is not valid UTF-8; convert it to UTF-8");
        }
        JsonNode node;
        try {
            node = MAPPER.readTree(text);
        } catch (JsonProcessingException e) {
            JsonLocation at = e.getLocation();
            long line = at == null ? firstLine : firstLine + Math.max(0, at.getLineNr() - 1);
            String column = at == null ? "" : " at column " + at.getColumnNr();
            throw JloraException.corrupt(
                    file
                            + ":"
                            + line
                            + ": not valid JSON"
                            + column
                            + " ("
                            + cause(e)
                            + "); correct that line");
        }
        if (node instanceof ObjectNode object) {
            return object;
        }
        throw JloraException.corrupt(
                file
                        + ":"
                        + firstLine
                        + ": holds "
                        + kind(node)
                        + " where a JSON object in braces is expected; check that this is the right"
                        + " file");
    }

    /**
     * Two spaces of indentation, keys in the order of the object, ASCII only: as Python's {@code
     * json.dumps(indent=2)}.
     */
    public static byte[] pretty(ObjectNode node) {
        try {
            return PRETTY.writeValueAsBytes(node);
        } catch (JsonProcessingException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** One line without spaces, in UTF-8. */
    static byte[] compact(ObjectNode node) {
        try {
            return MAPPER.writeValueAsBytes(node);
        } catch (JsonProcessingException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** What a value is, in words for messages. */
    public static String kind(JsonNode node) {
        return switch (node.getNodeType()) {
            case ARRAY -> "a list";
            case OBJECT -> "an object";
            case STRING -> "a string";
            case NUMBER -> "a number";
            case BOOLEAN -> "true or false";
            case NULL -> "null";
            default -> "nothing";
        };
    }

    /**
     * Text from a file in quotes, without control characters and at most 80 characters long, for
     * messages.
     */
    public static String quote(String text) {
        StringBuilder safe = new StringBuilder("'");
        for (int i = 0; i < text.length() && i < 80; i++) {
            char c = text.charAt(i);
            if (Character.isISOControl(c) || Character.isSurrogate(c)) {
                safe.append(String.format("\\u%04x", (int) c));
            } else {
                safe.append(c);
            }
        }
        return safe.append(text.length() > 80 ? "…'" : "'").toString();
    }

    /**
     * The first clause of a parser's message: what is wrong, without its advice on parser settings.
     */
    public static String cause(JacksonException e) {
        String text = e.getOriginalMessage();
        int end = text.indexOf('\n');
        // Where the unfinished object began is told in words of the parser's own settings.
        text =
                (end < 0 ? text : text.substring(0, end))
                        .replaceAll(
                                " \\((for \\w+ starting|start marker) at \\[Source:.*?]\\)", "");
        StringBuilder safe = new StringBuilder();
        for (int i = 0; i < text.length() && i < 160; i++) {
            char c = text.charAt(i);
            safe.append(Character.isISOControl(c) ? ' ' : c);
        }
        return safe.toString();
    }

    /**
     * Why an operation on a file failed, for messages: {@code NoSuchFileException} says only the
     * path.
     */
    public static String reason(IOException e) {
        String text = e.getMessage();
        return e.getClass().getSimpleName() + (text == null ? "" : ", " + text);
    }
}
