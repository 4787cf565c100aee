package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.io.Json;
import jlora.trainer.checkpoint.CheckpointFolder;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** A run that goes on from a checkpoint ends as the run that was never interrupted. */
class ResumeTest {
    /** Everything random, and batches whose steps are logged and evaluated at odd times. */
    private static final Object[] WORDS = {
        "--cpu_threads", 2,
        "--lora_target_modules", "all-linear",
        "--lora_dropout", 0.1,
        "--gradient_accumulation_steps", 2,
        "--max_steps", 11,
        "--logging_steps", 3,
        "--eval_steps", 4,
        "--save_steps", 5
    };

    @TempDir Path folder;
    private RunFolder run;

    @BeforeEach
    void create() throws IOException {
        run = RunFolder.create(folder);
    }

    private String train(Object... more) {
        return run.succeeds("train", Stream.concat(Stream.of(WORDS), Stream.of(more)).toArray());
    }

    private CommandLineRun trainTo(Object... more) {
        return run.run("train", Stream.concat(Stream.of(WORDS), Stream.of(more)).toArray());
    }

    private Path out(String name) {
        return folder.resolve(name);
    }

    @ParameterizedTest
    @CsvSource({"lora, float32", "lora, bfloat16", "full, float32"})
    void goesOnToTheSameBits(String method, String dtype) throws IOException {
        List<Object> words =
                new ArrayList<>(
                        method.equals("lora")
                                ? List.of(WORDS)
                                : Stream.of(WORDS).skip(6).collect(Collectors.toList()));
        words.addAll(List.of("--method", method, "--dtype", dtype));
        String[] whole = with(words, "--output_dir", out("whole"));
        String[] resumed = with(words, "--output_dir", out("resumed"));
        run.succeeds("train", (Object[]) whole);
        run.succeeds("train", (Object[]) resumed);
        // As if the process had been killed some steps after its first checkpoint.
        for (String name : List.of("trainer_state.json", "report.html")) {
            Files.delete(out("resumed").resolve(name));
        }
        Path first = keepTheFirstCheckpoint(out("resumed"));
        String said =
                run.succeeds(
                        "train",
                        (Object[])
                                with(
                                        words,
                                        "--output_dir",
                                        out("resumed"),
                                        "--resume_from_checkpoint",
                                        "auto"));
        assertTrue(said.contains("going on after step " + step(first)), said);
        assertSameResults(out("whole"), out("resumed"));
        for (Path checkpoint : checkpoints(out("whole"))) {
            Path other = out("resumed").resolve(checkpoint.getFileName());
            if (Files.exists(other)) {
                assertSameTensors(checkpoint, other);
            }
        }
    }

    private static String step(Path checkpoint) {
        return checkpoint.getFileName().toString().substring("checkpoint-".length());
    }

    private static List<Path> checkpoints(Path out) {
        return CheckpointFolder.in(out).stream().map(CheckpointFolder::path).toList();
    }

    private static Path keepTheFirstCheckpoint(Path out) throws IOException {
        List<Path> all = checkpoints(out);
        for (Path later : all.subList(1, all.size())) {
            delete(later);
        }
        return all.getFirst();
    }

    private static String[] with(List<Object> words, Object... more) {
        return Stream.concat(words.stream(), Stream.of(more))
                .map(Object::toString)
                .toArray(String[]::new);
    }

    private static void delete(Path checkpoint) throws IOException {
        for (String name : names(checkpoint)) {
            Files.delete(checkpoint.resolve(name));
        }
        Files.delete(checkpoint);
    }

    /** Adapter or model to the byte, and metrics but for what was measured by the clock. */
    static void assertSameResults(Path expected, Path got) throws IOException {
        assertSameTensors(expected, got);
        assertEquals(metrics(expected), metrics(got));
        assertEquals(state(expected), state(got));
    }

    private static void assertSameTensors(Path expected, Path got) throws IOException {
        assertEquals(names(expected), names(got));
        for (String name : names(expected)) {
            if (name.endsWith(".safetensors")) {
                assertArrayEquals(
                        Files.readAllBytes(expected.resolve(name)),
                        Files.readAllBytes(got.resolve(name)),
                        name);
            }
        }
    }

    private static List<ObjectNode> metrics(Path out) throws IOException {
        List<ObjectNode> lines = new ArrayList<>();
        for (String line : Files.readAllLines(out.resolve("metrics.jsonl"))) {
            ObjectNode json = Json.parseObject("metrics", 1, line.getBytes(StandardCharsets.UTF_8));
            json.remove(List.of("seconds", "tokens_per_second", "eval_seconds"));
            lines.add(json);
        }
        return lines;
    }

    private static ObjectNode state(Path out) {
        ObjectNode state = Json.readObject(out.resolve("trainer_state.json"));
        state.path("log_history").forEach(line -> ((ObjectNode) line).remove("eval_runtime"));
        state.remove("best_model_checkpoint");
        return state;
    }

    private static Set<String> names(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(f -> f.getFileName().toString())
                    .filter(name -> !name.startsWith("checkpoint-"))
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }

    @Test
    void damagedNewestCheckpointIsPassedOverWithAWarning() throws IOException {
        train("--output_dir", out("whole"));
        train();
        Path first = keepTheFirstCheckpoint(run.out());
        Path newer = run.out().resolve("checkpoint-9");
        RunFolder.copy(first, newer);
        Files.write(newer.resolve("optimizer.safetensors"), new byte[] {1, 2, 3});
        Files.delete(run.out().resolve("adapter_model.safetensors"));
        String said = train("--resume_from_checkpoint", "auto");
        assertTrue(said.contains("checkpoint-9: the checkpoint is damaged"), said);
        assertTrue(said.contains("going on after step " + step(first)), said);
        assertSameResults(out("whole"), run.out());
    }

    @Test
    void checkpointOfTheLastStepHasOnlyTheResultsToWrite() throws IOException {
        Object[] last = {"--max_steps", 10, "--save_steps", 10};
        train(Stream.concat(Stream.of(last), Stream.of("--output_dir", out("whole"))).toArray());
        train(last);
        Files.delete(run.out().resolve("adapter_model.safetensors"));
        Files.writeString(run.out().resolve("metrics.jsonl"), "cut");
        Object[] auto = {"--resume_from_checkpoint", "auto"};
        train(Stream.concat(Stream.of(last), Stream.of(auto)).toArray());
        assertSameResults(out("whole"), run.out());
    }

    @Test
    void checkpointOfAnotherRunIsRefusedWithEachDifference() throws IOException {
        train();
        CommandLineRun other =
                trainTo("--resume_from_checkpoint", "auto", "--lora_r", 4, "--learning_rate", 1);
        other.refused(
                ExitCode.USAGE,
                "is of another run",
                "lora_r is 4 instead of 8",
                "learning_rate is 1.0 instead of 0.005");
        Path rows = folder.resolve("train.jsonl");
        List<String> lines = Files.readAllLines(rows);
        Files.write(rows, lines.subList(1, lines.size()));
        trainTo("--resume_from_checkpoint", "auto").refused(ExitCode.USAGE, "other rows");
        Files.write(rows, lines);
        Path weights = run.model().resolve("model.safetensors");
        byte[] bytes = Files.readAllBytes(weights);
        bytes[bytes.length - 1] ^= 1;
        Files.write(weights, bytes);
        trainTo("--resume_from_checkpoint", "auto").refused(ExitCode.USAGE, "base model");
    }

    @Test
    void withoutACheckpointAutoStartsAnewAndNeverOverAFinishedRun() throws IOException {
        String said = train("--resume_from_checkpoint", "auto", "--save_strategy", "no");
        assertFalse(said.contains("going on"), said);
        trainTo("--resume_from_checkpoint", "auto", "--save_strategy", "no")
                .refused(ExitCode.USAGE, "holds a finished run");
        // Killed before its first checkpoint: records, and no adapter.
        Files.delete(run.out().resolve("adapter_model.safetensors"));
        train("--resume_from_checkpoint", "auto", "--save_strategy", "no");
    }

    @Test
    void namedCheckpointMustBeWhole() throws IOException {
        train();
        Path first = checkpoints(run.out()).getFirst();
        train("--resume_from_checkpoint", first, "--output_dir", out("other"));
        assertSameResults(run.out(), out("other"));
        Files.delete(first.resolve("state.json"));
        trainTo("--resume_from_checkpoint", first, "--output_dir", out("third"))
                .refused(ExitCode.CORRUPT_INPUT, "state.json is missing");
        trainTo("--resume_from_checkpoint", out("none"), "--output_dir", out("third"))
                .refused(ExitCode.USAGE, "is not a folder");
        assertFalse(Files.exists(out("third")));
    }
}
