package jlora.runtime.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;

class SafetensorsFileTest {
    @TempDir Path folder;

    /** What the header says of a tensor; the pieces are put in as they are. */
    private static String tensor(String dtype, String shape, String offsets) {
        return "{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
    }

    private static String one(String dtype, String shape, String offsets) {
        return "{\"w\":" + tensor(dtype, shape, offsets) + "}";
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static Stream<Arguments> hostileFiles() {
        String good = tensor("\"F32\"", "[2]", "[0,8]");
        byte[] plain = utf8("{\"w\":" + good + "}");
        byte[] badUtf8 = plain.clone();
        badUtf8[2] = (byte) 0xff;
        byte[] overlong =
                RawSafetensors.bytes(
                        new String(plain, StandardCharsets.ISO_8859_1)
                                .replace("w", "\u00c0\u00af")
                                .getBytes(StandardCharsets.ISO_8859_1),
                        new byte[8]);
        String nested = "[".repeat(100_000) + "]".repeat(100_000);
        return Stream.of(
                // What the reference implementation rejects.
                hostile("no bytes at all", new byte[0], "has 0 bytes"),
                hostile("seven bytes", new byte[7], "has 7 bytes"),
                hostile(
                        "header over 100 MB",
                        RawSafetensors.claiming(100_000_001, plain, new byte[8]),
                        "header of 100000001 bytes"),
                hostile(
                        "header length with the top bit set",
                        RawSafetensors.claiming(-1, plain, new byte[8]),
                        "header of 18446744073709551615 bytes"),
                hostile(
                        "header longer than the file",
                        RawSafetensors.claiming(plain.length + 9, plain, new byte[8]),
                        "but ends after"),
                hostile("empty header", RawSafetensors.bytes("", 0), "header is empty"),
                hostile("header is a list", RawSafetensors.bytes("[]", 0), "with a brace"),
                hostile("header is a string", RawSafetensors.bytes("\"w\"", 0), "with a brace"),
                hostile("header is cut off", RawSafetensors.bytes("{\"w\":", 0), "not valid JSON"),
                hostile(
                        "header without JSON",
                        RawSafetensors.bytes("{nonsense}", 0),
                        "not valid JSON"),
                hostile("object then text", RawSafetensors.bytes("{}x", 0), "not valid JSON"),
                hostile("two objects", RawSafetensors.bytes("{}{}", 0), "something follows"),
                hostile("NUL padding", RawSafetensors.bytes("{}\0\0", 0), "not valid JSON"),
                hostile("bad UTF-8", RawSafetensors.bytes(badUtf8, new byte[8]), "not valid UTF-8"),
                hostile("overlong UTF-8", overlong, "not valid UTF-8"),
                hostile(
                        "half a surrogate pair in a name",
                        RawSafetensors.bytes("{\"\\ud800\":" + good + "}", 8),
                        "surrogate"),
                hostile(
                        "half a surrogate pair in metadata",
                        RawSafetensors.bytes("{\"__metadata__\":{\"a\":\"\\udc00x\"}}", 0),
                        "surrogate"),
                hostile(
                        "overlapping ranges",
                        RawSafetensors.bytes(
                                "{\"a\":"
                                        + good
                                        + ",\"b\":"
                                        + tensor("\"F32\"", "[2]", "[4,12]")
                                        + "}",
                                12),
                        "'b' begins at byte 4 of the data, inside another tensor"),
                hostile(
                        "the same range twice",
                        RawSafetensors.bytes("{\"a\":" + good + ",\"b\":" + good + "}", 8),
                        "inside another tensor"),
                hostile(
                        "a hole at the start",
                        RawSafetensors.bytes(one("\"F32\"", "[2]", "[4,12]"), 12),
                        "behind a hole"),
                hostile(
                        "a hole between",
                        RawSafetensors.bytes(
                                "{\"a\":"
                                        + good
                                        + ",\"b\":"
                                        + tensor("\"F32\"", "[1]", "[12,16]")
                                        + "}",
                                16),
                        "'b' begins at byte 12 of the data, behind a hole"),
                hostile(
                        "trailing data",
                        RawSafetensors.bytes(plain, new byte[9]),
                        "1 bytes follow"),
                hostile("data without tensors", RawSafetensors.bytes("{}", 3), "3 bytes follow"),
                hostile(
                        "short data",
                        RawSafetensors.bytes(plain, new byte[7]),
                        "need 8 bytes but only 7 are there"),
                hostile(
                        "end before begin",
                        RawSafetensors.bytes(one("\"F32\"", "[2]", "[8,0]"), 8),
                        "ends before it begins"),
                hostile(
                        "size is not shape times dtype",
                        RawSafetensors.bytes(one("\"F32\"", "[3]", "[0,8]"), 8),
                        "has 8 bytes where its shape and dtype need 12"),
                hostile(
                        "overflowing shape",
                        RawSafetensors.bytes(
                                one("\"F32\"", "[4294967296,4294967296,4294967296]", "[0,8]"), 8),
                        "overflows"),
                hostile(
                        "shape that overflows to a small size",
                        RawSafetensors.bytes(
                                one("\"F32\"", "[2305843009213693953,8]", "[0,32]"), 32),
                        "overflows"),
                hostile(
                        "sub-byte shape that ends inside a byte",
                        RawSafetensors.bytes(one("\"F4\"", "[3]", "[0,2]"), 2),
                        "inside a byte"),
                hostile(
                        "offset beyond 63 bits",
                        RawSafetensors.bytes(one("\"F32\"", "[2]", "[0,18446744073709551616]"), 8),
                        "not a whole number"),
                hostile(
                        "huge but consistent claim",
                        RawSafetensors.bytes(
                                one("\"U8\"", "[9223372036854775]", "[0,9223372036854775]"), 8),
                        "only 8 are there"),
                hostile(
                        "negative offset",
                        RawSafetensors.bytes(one("\"F32\"", "[2]", "[-8,0]"), 8),
                        "not a whole number"),
                hostile(
                        "negative zero",
                        RawSafetensors.bytes(one("\"F32\"", "[2]", "[-0,8]"), 8),
                        "not a whole number"),
                hostile(
                        "fractional offset",
                        RawSafetensors.bytes(one("\"F32\"", "[2]", "[0,8.0]"), 8),
                        "not a whole number"),
                hostile(
                        "offset with an exponent",
                        RawSafetensors.bytes(one("\"F32\"", "[2]", "[0,8e0]"), 8),
                        "not a whole number"),
                hostile(
                        "negative dimension",
                        RawSafetensors.bytes(one("\"F32\"", "[-2]", "[0,8]"), 8),
                        "not a whole number"),
                hostile(
                        "dimension as text",
                        RawSafetensors.bytes(one("\"F32\"", "[\"2\"]", "[0,8]"), 8),
                        "not a whole number"),
                hostile(
                        "three offsets",
                        RawSafetensors.bytes(one("\"F32\"", "[2]", "[0,8,8]"), 8),
                        "3 data_offsets"),
                hostile(
                        "one offset",
                        RawSafetensors.bytes(one("\"F32\"", "[2]", "[8]"), 8),
                        "1 data_offsets"),
                hostile(
                        "offsets that are no list",
                        RawSafetensors.bytes(one("\"F32\"", "[2]", "8"), 8),
                        "data_offsets that is not a list"),
                hostile(
                        "unknown dtype",
                        RawSafetensors.bytes(one("\"F33\"", "[2]", "[0,8]"), 8),
                        "unknown dtype 'F33'"),
                hostile(
                        "dtype in small letters",
                        RawSafetensors.bytes(one("\"f32\"", "[2]", "[0,8]"), 8),
                        "unknown dtype 'f32'"),
                hostile(
                        "dtype that is a number",
                        RawSafetensors.bytes(one("32", "[2]", "[0,8]"), 8),
                        "not a string"),
                hostile(
                        "dtype missing",
                        RawSafetensors.bytes("{\"w\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8),
                        "lacks dtype"),
                hostile(
                        "shape missing",
                        RawSafetensors.bytes(
                                "{\"w\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8),
                        "lacks shape"),
                hostile(
                        "offsets missing",
                        RawSafetensors.bytes("{\"w\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8),
                        "lacks data_offsets"),
                hostile(
                        "tensor that is null",
                        RawSafetensors.bytes("{\"w\":null}", 0),
                        "not described by an object"),
                hostile(
                        "metadata value that is a number",
                        RawSafetensors.bytes("{\"__metadata__\":{\"format\":1}}", 0),
                        "not a string at 'format'"),
                hostile(
                        "metadata value that is an object",
                        RawSafetensors.bytes("{\"__metadata__\":{\"format\":{}}}", 0),
                        "not a string at 'format'"),
                hostile(
                        "metadata that is text",
                        RawSafetensors.bytes("{\"__metadata__\":\"pt\"}", 0),
                        "__metadata__ is not an object"),
                hostile(
                        "deep nesting",
                        RawSafetensors.bytes("{\"w\":" + nested + "}", 0),
                        "not described by an object"),
                hostile(
                        "deep nesting in a shape",
                        RawSafetensors.bytes(one("\"F32\"", nested, "[0,8]"), 8),
                        "not a whole number"),
                // What it accepts, and we refuse.
                hostile(
                        "duplicate tensor",
                        RawSafetensors.bytes("{\"w\":" + good + ",\"w\":" + good + "}", 8),
                        "Duplicate"),
                hostile(
                        "duplicate field",
                        RawSafetensors.bytes(
                                "{\"w\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],"
                                        + "\"data_offsets\":[0,8]}}",
                                8),
                        "Duplicate"),
                hostile(
                        "duplicate metadata",
                        RawSafetensors.bytes("{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0),
                        "Duplicate"),
                hostile(
                        "leading space",
                        RawSafetensors.bytes(" {\"w\":" + good + "}", 8),
                        "with a brace"),
                hostile(
                        "extra field",
                        RawSafetensors.bytes(
                                "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],"
                                        + "\"strides\":[1]}}",
                                8),
                        "unexpected field 'strides'"),
                hostile(
                        "name with NUL",
                        RawSafetensors.bytes("{\"a\\u0000b\":" + good + "}", 8),
                        "'a\\u0000b' has a control character"),
                hostile(
                        "name that climbs",
                        RawSafetensors.bytes("{\"../w\":" + good + "}", 8),
                        "has '..' in it"),
                hostile(
                        "empty name",
                        RawSafetensors.bytes("{\"\":" + good + "}", 8),
                        "empty name"));
    }

    private static Arguments hostile(String what, byte[] content, String cause) {
        return arguments(what, content, cause);
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("hostileFiles")
    void aHostileFileIsOneSentenceWithFileCauseAndFix(String what, byte[] content, String cause) {
        Path file = RawSafetensors.write(folder.resolve("hostile.safetensors"), content);
        JloraException e =
                assertThrows(JloraException.class, () -> SafetensorsFile.open(file).close());
        assertEquals(ExitCode.CORRUPT_INPUT, e.exitCode());
        String text = e.getMessage();
        assertTrue(text.startsWith(file.toString()), text);
        assertTrue(text.contains(cause), text);
        assertTrue(text.contains("download or save it again"), text);
        assertTrue(text.length() < file.toString().length() + 400, text);
        assertFalse(text.contains("\n"), text);
    }

    @Test
    void aTruncatedDownloadIsRefusedAtEveryLength() throws IOException {
        byte[] whole = RawSafetensors.vectors("a", "b", "c");
        Path file = folder.resolve("model.safetensors");
        for (int length = 0; length < whole.length; length++) {
            Files.write(file, Arrays.copyOf(whole, length));
            JloraException e =
                    assertThrows(JloraException.class, () -> SafetensorsFile.open(file).close());
            assertEquals(ExitCode.CORRUPT_INPUT, e.exitCode());
        }
    }

    @Test
    void randomDamageIsRefusedOrHarmlessButNeverACrash() {
        byte[] whole = RawSafetensors.vectors("a", "b", "c");
        Random random = new Random(7);
        Path file = folder.resolve("damaged.safetensors");
        int refused = 0;
        for (int i = 0; i < 2000; i++) {
            byte[] damaged = whole.clone();
            for (int k = 0; k <= i % 3; k++) {
                damaged[random.nextInt(damaged.length)] = (byte) random.nextInt(256);
            }
            RawSafetensors.write(file, damaged);
            try (SafetensorsFile opened = SafetensorsFile.open(file)) {
                assertEquals(3, opened.entries().size());
            } catch (JloraException e) {
                refused++;
            }
        }
        assertTrue(refused > 1000, refused + " refused");
    }

    @Test
    void aMissingFileAndAFolderAreSentences() {
        Path missing = folder.resolve("none.safetensors");
        JloraException e =
                assertThrows(JloraException.class, () -> SafetensorsFile.open(missing).close());
        assertTrue(e.getMessage().contains("no such file"), e.getMessage());
        assertEquals(ExitCode.CORRUPT_INPUT, e.exitCode());
        e = assertThrows(JloraException.class, () -> SafetensorsFile.open(folder).close());
        assertTrue(e.getMessage().contains("is a folder"), e.getMessage());
    }

    @Test
    void zeroSizeTensorsScalarsAndFilesWithoutTensorsAreLegal() {
        Path empty = RawSafetensors.write(folder.resolve("e"), RawSafetensors.bytes("{}      ", 0));
        try (SafetensorsFile file = SafetensorsFile.open(empty)) {
            assertEquals(Map.of(), file.entries());
            assertEquals(Map.of(), file.metadata());
        }
        String header =
                "{\"__metadata__\":{\"format\":\"pt\"},\"zero\":"
                        + tensor("\"F16\"", "[0,5]", "[2,2]")
                        + ",\"scalar\":"
                        + tensor("\"BF16\"", "[]", "[0,2]")
                        + ",\"tail\":"
                        + tensor("\"I64\"", "[1]", "[2,10]")
                        + "}\n ";
        Path path = RawSafetensors.write(folder.resolve("z"), RawSafetensors.bytes(header, 10));
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            assertEquals(Map.of("format", "pt"), file.metadata());
            assertEquals(List.of("zero", "scalar", "tail"), List.copyOf(file.entries().keySet()));
            assertArrayEquals(new long[] {0, 5}, file.entry("zero").shape());
            assertEquals(0, file.entry("zero").data().byteSize());
            assertArrayEquals(new long[0], file.entry("scalar").shape());
            assertEquals(1, file.entry("scalar").rows());
            assertEquals(1, file.entry("scalar").cols());
            assertEquals(SafetensorsType.I64, file.entry("tail").type());
        }
    }

    @ParameterizedTest
    @MethodSource("types")
    void everyDtypeOpensWithItsSize(SafetensorsType type) {
        int bytes = type.bits() * 8 / 8;
        Path path =
                RawSafetensors.write(
                        folder.resolve("t"),
                        RawSafetensors.bytes(
                                one("\"" + type + "\"", "[2,4]", "[0," + bytes + "]"), bytes));
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            assertEquals(type, file.entry("w").type());
            assertEquals(bytes, file.entry("w").data().byteSize());
        }
    }

    static Stream<SafetensorsType> types() {
        return Stream.of(SafetensorsType.values());
    }

    @Test
    void dataIsReadInPlaceWhateverItsAlignmentAndOnlyWhileOpen() {
        Path path =
                RawSafetensors.write(
                        folder.resolve("v"), RawSafetensors.vectors("first", "second", "x"));
        SafetensorsFile file = SafetensorsFile.open(path);
        SafetensorsEntry second = file.entry("second");
        assertEquals(1.0f, second.data().get(ValueLayout.JAVA_FLOAT_UNALIGNED, 0));
        assertTrue(second.data().isReadOnly());
        JloraException e = assertThrows(JloraException.class, () -> file.entry("third"));
        assertTrue(e.getMessage().contains("no tensor 'third'"), e.getMessage());
        file.close();
        file.close();
        assertThrows(
                IllegalStateException.class,
                () -> second.data().get(ValueLayout.JAVA_FLOAT_UNALIGNED, 0));
    }

    @Test
    void filesBeyondTwoGigabytesAreMapped() throws IOException {
        long bytes = (5L << 30) + 4;
        byte[] header = utf8(one("\"F32\"", "[" + bytes / 4 + "]", "[0," + bytes + "]"));
        Path path =
                RawSafetensors.write(
                        folder.resolve("big"),
                        RawSafetensors.claiming(header.length, header, new byte[0]));
        try (RandomAccessFile sparse = new RandomAccessFile(path.toFile(), "rw")) {
            sparse.setLength(8 + header.length + bytes);
            sparse.seek(8 + header.length + bytes - 4);
            sparse.write(new byte[] {0, 0, (byte) 0x80, 0x3f});
        }
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            SafetensorsEntry w = file.entry("w");
            assertEquals(1.0f, w.data().get(ValueLayout.JAVA_FLOAT_UNALIGNED, bytes - 4));
        }
    }
}
