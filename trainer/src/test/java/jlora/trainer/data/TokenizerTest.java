package jlora.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;

class TokenizerTest {
    private static final String LETTERS =
            "abcdefghij klmnopqrstuvw xyzTOABC .,!?'\n0123456789£éß漢字😀\0";

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

    private static String randomText(Random random, int longest) {
        int[] letters = LETTERS.codePoints().toArray();
        int[] text =
                random.ints(random.nextInt(longest), 0, letters.length)
                        .map(i -> letters[i])
                        .toArray();
        return new String(text, 0, text.length);
    }

    @Test
    void idsOfTheModelsFirstWords() {
        assertArrayEquals(
                new int[] {1, 403, 407, 261, 378}, tokenizer.encode("Once upon a time", true));
        assertArrayEquals(
                new int[] {403, 407, 261, 378}, tokenizer.encode("Once upon a time", false));
        assertEquals(512, tokenizer.vocabSize());
        assertEquals(OptionalInt.of(1), tokenizer.bosId());
        assertEquals(OptionalInt.of(2), tokenizer.eosId());
        assertEquals(OptionalInt.empty(), tokenizer.padId());
        assertEquals(List.of(1, 2), tokenizer.stopIds());
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5})
    void idsEqualThoseOfAnEncodingFromItsDefinition(long seed) throws IOException {
        var naive = new NaiveBpe(Fixtures.tokenizerFolder().resolve("tokenizer.json"));
        Random random = new Random(seed);
        for (int i = 0; i < 200; i++) {
            String text = randomText(random, 80);
            assertArrayEquals(naive.encode(text), tokenizer.encode(text, false), text);
        }
    }

    @ParameterizedTest
    @ValueSource(longs = {6, 7})
    void streamedTextEqualsTheWhole(long seed) {
        Random random = new Random(seed);
        for (int i = 0; i < 200; i++) {
            int[] ids = tokenizer.encode(randomText(random, 60), true);
            var decoder = new StreamDecoder(tokenizer, true);
            var text = new StringBuilder();
            for (int id : ids) {
                text.append(decoder.add(id));
            }
            text.append(decoder.finish());
            assertEquals(tokenizer.decode(ids, true), text.toString());
        }
    }

    @Test
    void streamHoldsAnIncompleteCharacterBack() {
        int[] ids = tokenizer.encode("a😀b", false);
        var decoder = new StreamDecoder(tokenizer, true);
        List<String> pieces = IntStream.of(ids).mapToObj(decoder::add).toList();
        assertEquals(List.of("a", "", "", "", "😀", "b"), pieces);
    }

    @Test
    void streamAfterAPromptKeepsTheSpaceBetweenWords() {
        int[] ids = tokenizer.encode("Once upon a time", true);
        var decoder = new StreamDecoder(tokenizer, true);
        decoder.context(Arrays.copyOf(ids, 3));
        assertEquals(" a", decoder.add(ids[3]));
        assertEquals(" time", decoder.add(ids[4]));
    }

    @Test
    void streamGivesUpOnBytesThatNeverBecomeACharacter() {
        var decoder = new StreamDecoder(tokenizer, true);
        int broken = 3 + 0xF0;
        var text = new StringBuilder();
        for (int i = 0; i < 20; i++) {
            text.append(decoder.add(broken));
        }
        assertFalse(text.isEmpty());
        text.append(decoder.finish());
        assertEquals("\uFFFD".repeat(20), text.toString());
    }

    @ParameterizedTest
    @CsvSource({
        "true, true, '1 261 430 2'",
        "true, false, '1 261 430'",
        "false, true, '261 430 2'",
        "false, false, '261 430'",
        ", true, '1 261 430 2'",
        ", , '1 261 430'"
    })
    void configDecidesOnBosAndEos(Boolean bos, Boolean eos, String expected) throws IOException {
        Fixtures.copyOfTokenizer(folder);
        String flags =
                (bos == null ? "" : "\"add_bos_token\": " + bos + ", ")
                        + (eos == null ? "" : "\"add_eos_token\": " + eos + ", ");
        Files.writeString(
                folder.resolve("tokenizer_config.json"),
                "{" + flags + "\"bos_token\": {\"content\": \"<s>\"}, \"eos_token\": \"</s>\"}");
        try (Tokenizer changed = Tokenizer.open(folder)) {
            int[] ids = changed.encode("ab", true);
            int[] plain = changed.encode("ab", false);
            String shown = Arrays.toString(ids).replaceAll("[\\[\\],]", "");
            String body = Arrays.toString(plain).replaceAll("[\\[\\],]", "");
            assertEquals(expected.replace("261 430", body), shown);
        }
    }

    @Test
    void flagForATokenThatDoesNotExistIsAnError() throws IOException {
        Fixtures.copyOfTokenizer(folder);
        Files.delete(folder.resolve("generation_config.json"));
        Files.writeString(
                folder.resolve("tokenizer_config.json"),
                "{\"add_eos_token\": true, \"eos_token\": \"<none>\"}");
        Fixtures.assertError(
                ExitCode.CORRUPT_INPUT, () -> Tokenizer.open(folder), "add_eos_token", "eos_token");
    }

    @Test
    void truncationAndPaddingOfTheFileAreOff() throws IOException {
        Fixtures.copyOfTokenizer(folder);
        Path file = folder.resolve("tokenizer.json");
        String json =
                Files.readString(file)
                        .replace(
                                "\"truncation\": null",
                                "\"truncation\": {\"direction\": \"Right\", \"max_length\": 3,"
                                        + " \"strategy\": \"LongestFirst\", \"stride\": 0}")
                        .replace(
                                "\"padding\": null",
                                "\"padding\": {\"strategy\": {\"Fixed\": 700}, \"direction\":"
                                        + " \"Right\", \"pad_to_multiple_of\": null, \"pad_id\": 0,"
                                        + " \"pad_type_id\": 0, \"pad_token\": \"<unk>\"}");
        Files.writeString(file, json);
        assertTrue(json.contains("\"max_length\": 3") && json.contains("700"));
        String text = "Once upon a time ".repeat(200);
        try (Tokenizer changed = Tokenizer.open(folder)) {
            assertArrayEquals(tokenizer.encode(text, true), changed.encode(text, true));
            assertTrue(changed.encode(text, true).length > 800);
        }
    }

    @Test
    void missingFileIsASentence() {
        Fixtures.assertError(
                ExitCode.USAGE, () -> Tokenizer.open(folder), "tokenizer.json", folder.toString());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "[]",
                "{\"model\": ",
                "{}",
                "{\"model\": {\"vocab\": {\"a\": 0}}}",
                "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 99999999999}, \"merges\": []}}",
                "{\"model\": {\"type\": \"None\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
                "{} {}"
            })
    void malformedFileIsASentence(String json) throws IOException {
        Files.writeString(folder.resolve("tokenizer.json"), json);
        Fixtures.assertError(
                ExitCode.CORRUPT_INPUT, () -> Tokenizer.open(folder), "tokenizer.json");
    }

    @Test
    void malformedConfigIsASentence() throws IOException {
        Fixtures.copyOfTokenizer(folder);
        Files.writeString(folder.resolve("tokenizer_config.json"), "{\"bos_token\": ");
        Fixtures.assertError(
                ExitCode.CORRUPT_INPUT, () -> Tokenizer.open(folder), "tokenizer_config.json");
    }

    @Test
    void unigramVocabularyIsCountedByItsList() {
        String json =
                "{\"added_tokens\": [{\"id\": 9, \"content\": \"<x>\"}], \"model\": {\"type\":"
                        + " \"Unigram\", \"vocab\": [[\"a\", -1.0], [\"</s>\", -2.5]]}}";
        Vocabulary vocabulary = Vocabulary.read(folder, json, java.util.Set.of("</s>", "<x>"));
        assertEquals(10, vocabulary.size());
        assertEquals(OptionalInt.of(1), vocabulary.id("</s>"));
        assertEquals(OptionalInt.of(9), vocabulary.id("<x>"));
    }

    @Test
    void unknownIdIsRefusedAndAClosedTokenizerToo() {
        assertThrows(
                IllegalArgumentException.class, () -> tokenizer.decode(new int[] {512}, false));
        Tokenizer closed = Tokenizer.open(Fixtures.tokenizerFolder());
        closed.close();
        closed.close();
        assertThrows(IllegalStateException.class, () -> closed.encode("a", true));
    }

    @Test
    void openingWritesNothingAndLoadsNoNetworkOrGpuCode() throws Exception {
        Path home = Files.createDirectory(folder.resolve("home"));
        Path temp = Files.createDirectory(folder.resolve("temp"));
        Path out = folder.resolve("out");
        Process process =
                new ProcessBuilder(
                                ProcessHandle.current().info().command().orElseThrow(),
                                "--enable-native-access=ALL-UNNAMED",
                                "-XX:-UsePerfData",
                                "-Xlog:class+load",
                                "-Duser.home=" + home,
                                "-Djava.io.tmpdir=" + temp,
                                "-cp",
                                System.getProperty("java.class.path"),
                                TokenizerProbe.class.getName(),
                                Fixtures.tokenizerFolder().toString(),
                                "Once upon a time")
                        .redirectErrorStream(true)
                        .redirectOutput(out.toFile())
                        .start();
        assertEquals(0, process.waitFor(), () -> read(out));
        List<String> lines = Files.readAllLines(out);
        List<String> printed =
                lines.stream().filter(line -> !line.contains("[class,load]")).toList();
        assertEquals(List.of("ids [1, 403, 407, 261, 378] Once upon a time"), printed);
        List<String> unwanted =
                lines.stream()
                        .filter(
                                line ->
                                        line.contains(" ai.djl.util.")
                                                || line.contains(" com.sun.jna.")
                                                || line.contains(" java.net.Socket")
                                                || line.contains(" org.slf4j."))
                        .toList();
        assertEquals(List.of(), unwanted);
        assertEquals(List.of(), list(home));
        assertEquals(List.of(), list(temp));
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private static List<Path> list(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.toList();
        }
    }

    @ParameterizedTest
    @CsvSource({
        "Linux, amd64, linux-x86_64",
        "Linux, aarch64, linux-aarch64",
        "Mac OS X, aarch64, osx-aarch64",
        "Windows 11, amd64, win-x86_64"
    })
    void platformNamesAreThoseOfTheJar(String os, String arch, String expected) {
        assertEquals(expected, TokenizerLibrary.platform(os, arch));
    }
}
