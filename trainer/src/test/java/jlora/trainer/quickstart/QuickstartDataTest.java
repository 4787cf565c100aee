package jlora.trainer.quickstart;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.trainer.data.Tokenizer;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

@Execution(ExecutionMode.CONCURRENT)
class QuickstartDataTest {
    static final Path HOME = Path.of("..", "quickstart");
    private static final Pattern NAME = Pattern.compile("name: The (.*?) \\|");
    private static final Pattern KIND_AND_AREA = Pattern.compile("kind: .*? \\| area: .*? \\|");

    @TempDir static Path made;

    @BeforeAll
    static void make() {
        QuickstartData.write(made);
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @ParameterizedTest
    @ValueSource(strings = {"train.jsonl", "eval.jsonl", "base/tokenizer.json"})
    void theCommittedFilesAreThoseThatTheRecipeMakes(String file) throws IOException {
        Path again = made.resolve(Path.of(file).getFileName());
        assertArrayEquals(Files.readAllBytes(again), Files.readAllBytes(HOME.resolve(file)));
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void theSameSeedGivesTheSamePassages() {
        Words words = Words.load();
        assertEquals(passages(words, 7), passages(words, 7));
        assertNotEquals(passages(words, 7), passages(words, 8));
    }

    private static List<String> passages(Words words, long seed) {
        Passages passages = new Passages(words, seed);
        return IntStream.range(0, 200).mapToObj(_ -> passages.next()).toList();
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void everyPassageIsNewAndWellFormed() throws IOException {
        Set<String> seen = new HashSet<>();
        Pattern wrong = Pattern.compile("[\\[\\]{}|*]|  | [,.?!]|[.?!] [a-z]|\\b[Aa] [aeiou]|->");
        for (String file : List.of("corpus.jsonl", "corpus_eval.jsonl")) {
            for (String line : Files.readAllLines(made.resolve(file))) {
                String text = line.substring("{\"text\":\"".length(), line.length() - 2);
                assertTrue(seen.add(text), text);
                assertFalse(wrong.matcher(text).find(), text);
                assertTrue(text.matches("(?s)(\\\\\")?[A-Z].*[.?!](\\\\\")?"), text);
            }
        }
        assertEquals(QuickstartData.PASSAGES + QuickstartData.HELD_OUT_PASSAGES, seen.size());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void noTrainingTextHasAHeldOutName() throws IOException {
        Set<String> heldOut = new HashSet<>();
        for (Cards.Card card : Cards.read(made.resolve("eval.jsonl"))) {
            heldOut.add(find(NAME, 1, card));
        }
        for (String file : List.of("corpus.jsonl", "train.jsonl")) {
            String text = Files.readString(made.resolve(file));
            for (String name : heldOut) {
                assertFalse(text.contains("he " + name), name);
            }
        }
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void noCardToTrainOnHasAKindInAnAreaThatIsHeldOut() {
        Set<String> heldOut = combinations("eval.jsonl");
        Set<String> trained = combinations("train.jsonl");
        assertTrue(heldOut.size() > 10);
        assertEquals(
                Set.of(), heldOut.stream().filter(trained::contains).collect(Collectors.toSet()));
    }

    private static Set<String> combinations(String file) {
        return Cards.read(made.resolve(file)).stream()
                .map(card -> find(KIND_AND_AREA, 0, card))
                .collect(Collectors.toSet());
    }

    private static String find(Pattern pattern, int group, Cards.Card card) {
        Matcher matcher = pattern.matcher(card.prompt());
        assertTrue(matcher.find(), card.prompt());
        return matcher.group(group);
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void theTokenizerGivesEveryTextBack() throws IOException {
        try (Tokenizer tokenizer = Tokenizer.open(HOME.resolve("base"))) {
            assertEquals(QuickstartData.VOCABULARY, tokenizer.vocabSize());
            List<String> texts =
                    Stream.of("corpus_eval.jsonl", "train.jsonl", "eval.jsonl")
                            .flatMap(file -> lines(made.resolve(file)))
                            .toList();
            for (String text : texts) {
                assertEquals(text, tokenizer.decode(tokenizer.encode(text, true), true));
            }
            String foreign = "Ünïcode 漢字 🦊\n\ttabs  and   spaces";
            assertEquals(foreign, tokenizer.decode(tokenizer.encode(foreign, true), true));
        }
    }

    private static Stream<String> lines(Path file) {
        try {
            return Files.readAllLines(file).stream();
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void theQuickstartIsSmallInTheRepository() throws IOException {
        try (Stream<Path> files = Files.walk(HOME)) {
            long bytes =
                    files.filter(Files::isRegularFile).mapToLong(f -> f.toFile().length()).sum();
            assertTrue(bytes <= 3_000_000, bytes + " bytes");
        }
    }
}
