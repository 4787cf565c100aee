package jlora.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.zip.GZIPOutputStream;

class DatasetLoaderTest {
    private static final int X = Example.IGNORED;
    private static final String ROW = "{\"input_ids\": [1, 2, 3], \"labels\": [-100, 2, 3]}";

    private static Tokenizer tokenizer;

    @TempDir Path folder;

    @BeforeAll
    static void open() {
        tokenizer = Tokenizer.open(Fixtures.tokenizerFolder());
    }

    @AfterAll
    static void close() {
        tokenizer.close();
    }

    private static EncodeOptions options(int maxLength) {
        return new EncodeOptions(Optional.of(tokenizer), 512, maxLength, true);
    }

    private DatasetSpec file(String type, String... lines) {
        return file(type, (String.join("\n", lines) + "\n").getBytes(StandardCharsets.UTF_8));
    }

    private DatasetSpec file(String type, byte[] bytes) {
        try {
            return new DatasetSpec(Files.write(folder.resolve("rows.jsonl"), bytes), type);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private static byte[] gzip(byte[] bytes) throws IOException {
        var out = new ByteArrayOutputStream();
        try (var gzip = new GZIPOutputStream(out)) {
            gzip.write(bytes);
        }
        return out.toByteArray();
    }

    private static DatasetLoader.Loaded load(DatasetSpec spec) {
        return DatasetLoader.load(List.of(spec), options(64), 2);
    }

    @Test
    void textGetsBosAndEosAndLossEverywhere() {
        Examples examples = load(file("text", "{\"text\": \"Once upon a time\"}")).examples();
        Example row = examples.get(0);
        assertArrayEquals(new int[] {1, 403, 407, 261, 378, 2}, row.inputIds());
        assertArrayEquals(row.inputIds(), row.labels());
        assertNull(row.attentionMask());
        assertEquals(5, row.trainedTokens());
    }

    @Test
    void eosThatTheTextSpellsOutIsNotDoubled() {
        Examples examples = load(file("text", "{\"text\": \"Once upon a time</s>\"}")).examples();
        assertArrayEquals(new int[] {1, 403, 407, 261, 378, 2}, examples.get(0).inputIds());
    }

    @Test
    void promptIsMaskedAndTheCompletionEndsWithEos() {
        DatasetSpec spec =
                file(
                        "prompt_completion",
                        "{\"prompt\": \"Once upon\", \"completion\": \" a time\", \"id\": 7}");
        Example row = load(spec).examples().get(0);
        assertArrayEquals(new int[] {1, 403, 407, 261, 378, 2}, row.inputIds());
        assertArrayEquals(new int[] {X, X, X, 261, 378, 2}, row.labels());
        var everywhere = new EncodeOptions(Optional.of(tokenizer), 512, 64, false);
        Example all = DatasetLoader.load(List.of(spec), everywhere, 1).examples().get(0);
        assertArrayEquals(all.inputIds(), all.labels());
    }

    @Test
    void tokenSharedByPromptAndCompletionHasLossAndIsCounted() {
        int[] prompt = tokenizer.encode("Once upon a ti", true);
        int[] whole = tokenizer.encode("Once upon a time", true);
        int parting = Arrays.mismatch(prompt, whole);
        assertTrue(parting < prompt.length, "the fixture has to merge");
        var loaded =
                load(
                        file(
                                "prompt_completion",
                                "{\"prompt\": \"Once upon a ti\", \"completion\": \"me\"}"));
        int[] expected = Arrays.copyOf(whole, whole.length + 1);
        expected[whole.length] = 2;
        Arrays.fill(expected, 0, parting, X);
        assertArrayEquals(expected, loaded.examples().get(0).labels());
        assertEquals(1, loaded.statistics().mergedBoundaryRows());
    }

    @Test
    void longTextIsCutAndCountedAndSoAreRowsThatTeachNothing() {
        String prompt = "Once upon a time ".repeat(10).strip();
        var loaded =
                DatasetLoader.load(
                        List.of(
                                file(
                                        "prompt_completion",
                                        "{\"prompt\": \"" + prompt + "\", \"completion\": \" x\"}",
                                        "{\"prompt\": \"Once\", \"completion\": \""
                                                + prompt
                                                + "\"}",
                                        "{\"prompt\": \"Once\", \"completion\": \" a\"}")),
                        options(12),
                        2);
        DataStatistics statistics = loaded.statistics();
        assertEquals(3, statistics.rows());
        assertEquals(2, statistics.truncatedRows());
        assertEquals(1, statistics.allMaskedRows());
        assertEquals(12, loaded.examples().get(0).length());
        assertEquals(12, loaded.examples().longest());
        List<String> lines = statistics.describe();
        assertTrue(lines.contains("2 rows cut to max_length"), lines.toString());
        assertTrue(lines.contains("1 row without a trained token"), lines.toString());
    }

    @Test
    void tokensAreTakenAsTheyAre() {
        Examples examples =
                load(file(
                                "tokens",
                                "{\"input_ids\": [5, 6, 0], \"labels\": [-100, 9, -100],"
                                        + " \"attention_mask\": [1, 1, 0]}",
                                "{\"labels\": [5, 6], \"input_ids\": [5, 6],"
                                        + " \"attention_mask\": null}"))
                        .examples();
        assertArrayEquals(new int[] {5, 6, 0}, examples.get(0).inputIds());
        assertArrayEquals(new int[] {X, 9, X}, examples.get(0).labels());
        assertArrayEquals(new int[] {1, 1, 0}, examples.get(0).attentionMask());
        assertNull(examples.get(1).attentionMask());
        assertEquals(2, examples.get(1).sourceLine());
    }

    @Test
    void tokensNeedNoTokenizer() {
        var none = new EncodeOptions(Optional.empty(), 512, 64, true);
        assertEquals(
                1, DatasetLoader.load(List.of(file("tokens", ROW)), none, 1).examples().size());
        Fixtures.assertError(
                ExitCode.USAGE,
                () -> DatasetLoader.load(List.of(file("text", "{}")), none, 1),
                "needs a tokenizer");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{\"input_ids\": [1, 2], \"labels\": [1 2]} | not valid JSON",
                "{\"input_ids\": [1, 2], \"labels\": [1, 2] | not valid JSON",
                "{\"input_ids\": [1], \"labels\": [1]} {} | one object a line",
                "[1, 2] | not a JSON object",
                "3 | not a JSON object",
                "{\"labels\": [1]} | 'input_ids' is missing",
                "{\"input_ids\": [1]} | 'labels' is missing",
                "{\"input_ids\": [1], \"labels\": null} | 'labels' is null",
                "{\"input_ids\": \"a\", \"labels\": [1]} | 'input_ids' is a text",
                "{\"input_ids\": {}, \"labels\": [1]} | 'input_ids' is an object",
                "{\"input_ids\": 3, \"labels\": [1]} | 'input_ids' is a number",
                "{\"input_ids\": [1, 2.5], \"labels\": [1, 2]} | entry 1 is 2.5",
                "{\"input_ids\": [1, [2]], \"labels\": [1, 2]} | entry 1 is a nested value",
                "{\"input_ids\": [1, 99999999999], \"labels\": [1, 2]} | entry 1 is 99999999999",
                "{\"input_ids\": [1], \"input_ids\": [1], \"labels\": [1]} | there twice",
                "{\"input_ids\": [], \"labels\": []} | input_ids is empty",
                "{\"input_ids\": [1, 2], \"labels\": [1]} | labels has 1 entries",
                "{\"input_ids\": [1], \"labels\": [1], \"attention_mask\": [1, 1]} | attention_mask"
                        + " has 2",
                "{\"input_ids\": [1], \"labels\": [1], \"attention_mask\": [2]} | attention_mask[0]"
                        + " is 2",
                "{\"input_ids\": [1, 512], \"labels\": [1, 2]} | input_ids[1] is 512",
                "{\"input_ids\": [1, -1], \"labels\": [1, 2]} | input_ids[1] is -1",
                "{\"input_ids\": [1, 2], \"labels\": [1, 512]} | labels[1] is 512",
                "{\"input_ids\": [1, 2], \"labels\": [1, -1]} | labels[1] is -1",
            })
    void badRowIsASentenceWithItsLine(String row, String part) {
        DatasetSpec spec = file("tokens", ROW, "", "  ", ROW, row, "also bad");
        Fixtures.assertError(ExitCode.CORRUPT_INPUT, () -> load(spec), spec.path() + ":5: ", part);
    }

    @Test
    void tooManyTokensIsASentence() {
        String ones = IntStream.range(0, 65).mapToObj(i -> "1").collect(Collectors.joining(","));
        Fixtures.assertError(
                ExitCode.CORRUPT_INPUT,
                () ->
                        load(
                                file(
                                        "tokens",
                                        "{\"input_ids\": ["
                                                + ones
                                                + "], \"labels\": ["
                                                + ones
                                                + "]}")),
                ":1: ",
                "65 tokens",
                "64",
                "max_length");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "{\"text\": 3} | 'text' is a number",
                "{\"text\": [1]} | 'text' is a list",
                "{\"txt\": \"a\"} | 'text' is missing",
                "{\"text\": \"\\ud800\"} | half a character",
            })
    void badTextIsASentence(String row, String part) {
        Fixtures.assertError(ExitCode.CORRUPT_INPUT, () -> load(file("text", row)), ":1: ", part);
    }

    @Test
    void tokenizerLargerThanTheModelIsASentence() {
        var small = new EncodeOptions(Optional.of(tokenizer), 400, 64, true);
        DatasetSpec spec = file("text", "{\"text\": \"Once upon a time\"}");
        Fixtures.assertError(
                ExitCode.CORRUPT_INPUT,
                () -> DatasetLoader.load(List.of(spec), small, 1),
                ":1: ",
                "403",
                "400");
    }

    @Test
    void wrongEncodingIsASentence() {
        byte[] bytes = ("{\"text\": \"a\"}\n{\"text\": \"?\"}\n").getBytes(StandardCharsets.UTF_8);
        bytes[bytes.length - 4] = (byte) 0xE9;
        Fixtures.assertError(
                ExitCode.CORRUPT_INPUT, () -> load(file("text", bytes)), ":2: ", "UTF-8");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "\n \n\t\r\n"})
    void emptyDataSetIsASentence(String content) {
        Fixtures.assertError(
                ExitCode.CORRUPT_INPUT,
                () -> load(file("text", content.getBytes(StandardCharsets.UTF_8))),
                "holds no rows");
    }

    @Test
    void dataSetWithoutATrainedTokenIsASentence() {
        Fixtures.assertError(
                ExitCode.CORRUPT_INPUT,
                () -> load(file("tokens", "{\"input_ids\": [1, 2], \"labels\": [1, -100]}")),
                "token to train on");
    }

    @Test
    void missingFileUnknownTypeAndUnknownFieldAreSentences() {
        Fixtures.assertError(
                ExitCode.USAGE,
                () -> load(new DatasetSpec(folder.resolve("none.jsonl"), "text")),
                "none.jsonl",
                "does not exist");
        Fixtures.assertError(
                ExitCode.USAGE, () -> load(new DatasetSpec(folder, "text")), "is a folder");
        Fixtures.assertError(
                ExitCode.USAGE,
                () -> load(file("chat", ROW)),
                "'chat'",
                "text, prompt_completion, tokens");
        Fixtures.assertError(
                ExitCode.USAGE,
                () ->
                        load(
                                new DatasetSpec(
                                        file("text", ROW).path(),
                                        "text",
                                        Map.of("prompt", "question"),
                                        OptionalInt.empty())),
                "no field 'prompt'");
    }

    @Test
    void renamedFieldsAndLimit() {
        DatasetSpec plain =
                file(
                        "prompt_completion",
                        "{\"question\": \"Once upon\", \"answer\": \" a time\"}",
                        "",
                        "{\"question\": \"Once\", \"answer\": \" a\"}",
                        "not read");
        var spec =
                new DatasetSpec(
                        plain.path(),
                        plain.type(),
                        Map.of("prompt", "question", "completion", "answer"),
                        OptionalInt.of(2));
        Examples examples = load(spec).examples();
        assertEquals(2, examples.size());
        assertEquals(3, examples.get(1).sourceLine());
        Fixtures.assertError(
                ExitCode.CORRUPT_INPUT,
                () ->
                        load(
                                new DatasetSpec(
                                        plain.path(),
                                        plain.type(),
                                        spec.fields(),
                                        OptionalInt.empty())),
                ":4: ");
    }

    @Test
    void gzipIsToldByItsContentAndMayBeInParts() throws IOException {
        var bytes = new ByteArrayOutputStream();
        bytes.write(gzip((ROW + "\n").getBytes(StandardCharsets.UTF_8)));
        bytes.write(gzip((ROW + "\n" + ROW).getBytes(StandardCharsets.UTF_8)));
        assertEquals(3, load(file("tokens", bytes.toByteArray())).examples().size());
    }

    @Test
    void truncatedGzipIsASentence() throws IOException {
        byte[] whole = gzip((ROW + "\n").repeat(1000).getBytes(StandardCharsets.UTF_8));
        DatasetSpec spec = file("tokens", Arrays.copyOf(whole, whole.length - 20));
        Fixtures.assertError(ExitCode.CORRUPT_INPUT, () -> load(spec), "gzip", "rows.jsonl");
    }

    @Test
    void byteOrderMarkAndWindowsLineEndsAreRead() {
        assertEquals(
                2,
                load(file(
                                "tokens",
                                ("\uFEFF" + ROW + "\r\n\r\n" + ROW)
                                        .getBytes(StandardCharsets.UTF_8)))
                        .examples()
                        .size());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 5})
    void orderDoesNotDependOnThreads(int threads) {
        String[] lines =
                IntStream.range(0, 3000)
                        .mapToObj(
                                i ->
                                        "{\"input_ids\": ["
                                                + i % 512
                                                + ", "
                                                + i / 512
                                                + "], \"labels\": [1, 1], \"pad\": \""
                                                + "x".repeat(i % 700)
                                                + "\"}")
                        .toArray(String[]::new);
        DatasetSpec spec = file("tokens", lines);
        Examples examples =
                DatasetLoader.load(List.of(spec, spec), options(64), threads).examples();
        assertEquals(6000, examples.size());
        for (int i = 0; i < 6000; i++) {
            int row = i % 3000;
            assertArrayEquals(new int[] {row % 512, row / 512}, examples.get(i).inputIds());
            assertEquals(row + 1, examples.get(i).sourceLine());
        }
    }
}
