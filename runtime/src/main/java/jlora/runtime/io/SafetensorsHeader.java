package jlora.runtime.io;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;

import jlora.runtime.JloraException;

import java.io.CharConversionException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The checked header of a safetensors file, parsed as a stream so that hostile nesting or sizes
 * cost nothing.
 */
record SafetensorsHeader(Map<String, String> metadata, Map<String, SafetensorsEntry> entries) {
    private static final String METADATA = "__metadata__";

    /** What the header says of one tensor before it is compared with the file. */
    private record Claim(String name, SafetensorsType type, long[] shape, long begin, long end) {}

    static SafetensorsHeader read(Path path, MemorySegment json, MemorySegment data) {
        if (json.byteSize() == 0) {
            throw SafetensorsFile.corrupt(path, "its header is empty");
        }
        if (json.get(ValueLayout.JAVA_BYTE, 0) != '{') {
            throw SafetensorsFile.corrupt(path, "its header does not start with a brace");
        }
        try (JsonParser parser =
                Json.factory()
                        .createParser(
                                new InputStreamReader(
                                        new SegmentInput(json.asByteBuffer()),
                                        StandardCharsets.UTF_8.newDecoder()))) {
            return new Reader(path, parser, data).read();
        } catch (JsonProcessingException e) {
            throw SafetensorsFile.corrupt(
                    path, "its header is not valid JSON (" + Json.cause(e) + ")");
        } catch (CharacterCodingException | CharConversionException e) {
            throw SafetensorsFile.corrupt(path, "its header is not valid UTF-8");
        } catch (IOException e) {
            throw SafetensorsFile.corrupt(path, "its header cannot be read: " + Json.reason(e));
        }
    }

    /** One pass over the tokens of a header. */
    private static final class Reader {
        private final Path path;
        private final JsonParser parser;
        private final MemorySegment data;
        private final Map<String, String> metadata = new LinkedHashMap<>();
        private final List<Claim> claims = new ArrayList<>();

        Reader(Path path, JsonParser parser, MemorySegment data) {
            this.path = path;
            this.parser = parser;
            this.data = data;
        }

        SafetensorsHeader read() throws IOException {
            expect(JsonToken.START_OBJECT, "its header is not an object");
            for (String key = parser.nextFieldName(); key != null; key = parser.nextFieldName()) {
                if (key.equals(METADATA)) {
                    readMetadata();
                } else {
                    checkName(key);
                    claims.add(readClaim(key));
                }
            }
            if (parser.currentToken() != JsonToken.END_OBJECT) {
                throw bad("its header is not a complete object");
            }
            if (parser.nextToken() != null) {
                throw bad("something follows the object in its header");
            }
            checkRanges();
            Map<String, SafetensorsEntry> entries = LinkedHashMap.newLinkedHashMap(claims.size());
            for (Claim claim : claims) {
                entries.put(
                        claim.name,
                        new SafetensorsEntry(
                                path,
                                claim.name,
                                claim.type,
                                claim.shape,
                                data.asSlice(claim.begin, claim.end - claim.begin)));
            }
            return new SafetensorsHeader(
                    Collections.unmodifiableMap(metadata), Collections.unmodifiableMap(entries));
        }

        private void readMetadata() throws IOException {
            expect(JsonToken.START_OBJECT, METADATA + " is not an object");
            for (String key = parser.nextFieldName(); key != null; key = parser.nextFieldName()) {
                if (parser.nextToken() != JsonToken.VALUE_STRING) {
                    throw bad(METADATA + " has a value that is not a string at " + Json.quote(key));
                }
                String value = parser.getText();
                // The parser refuses half a surrogate pair in names but not in values.
                if (!StandardCharsets.UTF_8.newEncoder().canEncode(value)) {
                    throw bad(METADATA + " has half a surrogate pair at " + Json.quote(key));
                }
                metadata.put(key, value);
            }
        }

        private void checkName(String name) {
            if (name.isEmpty()) {
                throw bad("a tensor has an empty name");
            }
            if (name.chars().anyMatch(Character::isISOControl)) {
                throw bad("the tensor name " + Json.quote(name) + " has a control character");
            }
            if (name.contains("..")) {
                throw bad("the tensor name " + Json.quote(name) + " has '..' in it");
            }
        }

        private Claim readClaim(String name) throws IOException {
            String tensor = "tensor " + Json.quote(name);
            expect(JsonToken.START_OBJECT, tensor + " is not described by an object");
            SafetensorsType type = null;
            long[] shape = null;
            long[] offsets = null;
            for (String key = parser.nextFieldName(); key != null; key = parser.nextFieldName()) {
                switch (key) {
                    case "dtype" -> {
                        expect(
                                JsonToken.VALUE_STRING,
                                tensor + " has a dtype that is not a string");
                        String dtype = parser.getText();
                        type =
                                SafetensorsType.byName(dtype)
                                        .orElseThrow(
                                                () ->
                                                        bad(
                                                                tensor
                                                                        + " has the unknown dtype "
                                                                        + Json.quote(dtype)));
                    }
                    case "shape" -> shape = readNumbers(tensor, "shape");
                    case "data_offsets" -> offsets = readNumbers(tensor, "data_offsets");
                    default -> throw bad(tensor + " has the unexpected field " + Json.quote(key));
                }
            }
            if (type == null || shape == null || offsets == null) {
                throw bad(
                        tensor
                                + " lacks "
                                + (type == null
                                        ? "dtype"
                                        : shape == null ? "shape" : "data_offsets"));
            }
            if (offsets.length != 2) {
                throw bad(tensor + " has " + offsets.length + " data_offsets instead of two");
            }
            return new Claim(name, type, shape, offsets[0], offsets[1]);
        }

        private long[] readNumbers(String tensor, String field) throws IOException {
            expect(JsonToken.START_ARRAY, tensor + " has a " + field + " that is not a list");
            long[] numbers = new long[4];
            int count = 0;
            while (parser.nextToken() != JsonToken.END_ARRAY) {
                if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT
                        || parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER
                        || parser.getText().startsWith("-")) {
                    throw bad(
                            tensor
                                    + " has a "
                                    + field
                                    + " with something that is not a whole number from 0 to"
                                    + " 2^63-1");
                }
                if (count == numbers.length) {
                    numbers = Arrays.copyOf(numbers, 2 * count);
                }
                numbers[count++] = parser.getLongValue();
            }
            return Arrays.copyOf(numbers, count);
        }

        /** The data must be covered from its first to its last byte, without holes or overlaps. */
        private void checkRanges() {
            List<Claim> sorted = new ArrayList<>(claims);
            sorted.sort(Comparator.comparingLong(Claim::begin).thenComparingLong(Claim::end));
            long at = 0;
            for (Claim claim : sorted) {
                String tensor = "tensor " + Json.quote(claim.name);
                if (claim.end < claim.begin) {
                    throw bad(tensor + " ends before it begins");
                }
                if (claim.begin != at) {
                    throw bad(
                            tensor
                                    + " begins at byte "
                                    + claim.begin
                                    + " of the data, "
                                    + (claim.begin < at
                                            ? "inside another tensor"
                                            : "behind a hole"));
                }
                long bytes =
                        claim.type
                                .bytesOf(claim.shape)
                                .orElseThrow(
                                        () ->
                                                bad(
                                                        tensor
                                                                + " has a shape that overflows or"
                                                                + " ends inside a byte"));
                if (claim.end - claim.begin != bytes) {
                    throw bad(
                            tensor
                                    + " has "
                                    + (claim.end - claim.begin)
                                    + " bytes where its shape "
                                    + "and dtype need "
                                    + bytes);
                }
                at = claim.end;
            }
            if (at > data.byteSize()) {
                throw bad(
                        "its tensors need "
                                + at
                                + " bytes but only "
                                + data.byteSize()
                                + " are there");
            }
            if (at < data.byteSize()) {
                throw bad((data.byteSize() - at) + " bytes follow its last tensor");
            }
        }

        private void expect(JsonToken token, String otherwise) throws IOException {
            if (parser.nextToken() != token) {
                throw bad(otherwise);
            }
        }

        private JloraException bad(String cause) {
            return SafetensorsFile.corrupt(path, cause);
        }
    }

    /** Reads a mapped header without copying it as a whole. */
    private static final class SegmentInput extends InputStream {
        private final ByteBuffer bytes;

        SegmentInput(ByteBuffer bytes) {
            this.bytes = bytes;
        }

        @Override
        public int read() {
            return bytes.hasRemaining() ? bytes.get() & 0xff : -1;
        }

        @Override
        public int read(byte[] into, int offset, int length) {
            if (!bytes.hasRemaining()) {
                return length == 0 ? 0 : -1;
            }
            int count = Math.min(length, bytes.remaining());
            bytes.get(into, offset, count);
            return count;
        }
    }
}
