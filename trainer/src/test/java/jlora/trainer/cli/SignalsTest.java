package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.trainer.checkpoint.CheckpointFolder;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** TERM, INT and USR1, sent to a process of its own in each phase of a run. */
class SignalsTest {
    private static final Pattern STEP = Pattern.compile("(?m)^step +(\\d+)/");

    /** Time to notice, and to write; what is running is done much sooner. */
    private static final Duration SOON = Duration.ofSeconds(10);

    @TempDir Path folder;
    private RunFolder run;

    @BeforeEach
    void create() throws IOException {
        run = RunFolder.create(folder);
    }

    private Object[] words(Object... more) {
        Object[] usual = {
            "train",
            "-c",
            run.config(),
            "--cpu_threads",
            2,
            "--logging_steps",
            1,
            "--lora_dropout",
            0.1
        };
        return Stream.concat(Stream.of(usual), Stream.of(more)).toArray();
    }

    private JloraProcess start(Object... more) throws IOException {
        return JloraProcess.start(Map.of(), words(more));
    }

    private long newestCheckpoint() {
        return CheckpointFolder.in(run.out()).getLast().step();
    }

    private static long lastStep(String output) {
        Matcher steps = STEP.matcher(output);
        long last = 0;
        while (steps.find()) {
            last = Long.parseLong(steps.group(1));
        }
        return last;
    }

    /** Ends with 75 and a checkpoint of the very step that was the last. */
    private void preempted(JloraProcess process, String signal)
            throws IOException, InterruptedException {
        process.signal(signal);
        long sent = System.nanoTime();
        assertEquals(ExitCode.PREEMPTED.code(), process.exitCode(SOON), process.output());
        System.out.printf(
                "%s: SIG%s to exit %.2f s%n",
                getClass().getSimpleName(), signal, (System.nanoTime() - sent) / 1e9);
        String output = process.output();
        assertTrue(output.contains("jlora: SIG" + signal + ": the run ends"), output);
        assertEquals(lastStep(output), newestCheckpoint(), output);
        CheckpointFolder.in(run.out()).forEach(CheckpointFolder::verify);
    }

    @Test
    void signalInTrainingEndsTheRunWithACheckpointToGoOnFrom()
            throws IOException, InterruptedException {
        Object[] steps = {"--max_steps", 4000, "--eval_steps", 1000, "--learning_rate", 1e-4};
        try (JloraProcess process = start(steps)) {
            process.awaitOutput("step   20/");
            preempted(process, "TERM");
        }
        long reached = newestCheckpoint();
        Object[] auto = {"--resume_from_checkpoint", "auto"};
        try (JloraProcess process =
                start(Stream.concat(Stream.of(steps), Stream.of(auto)).toArray())) {
            process.awaitOutput("going on after step " + reached);
            process.awaitOutput("\nstep ");
            preempted(process, "USR1");
        }
        assertTrue(newestCheckpoint() > reached);
    }

    @Test
    void withoutCheckpointsASignalEndsTheRunWithItsOwnNumber()
            throws IOException, InterruptedException {
        try (JloraProcess process = start("--max_steps", 100_000, "--save_strategy", "no")) {
            process.awaitOutput("\nstep ");
            process.signal("INT");
            assertEquals(ExitCode.INTERRUPTED.code(), process.exitCode(SOON), process.output());
            assertTrue(process.output().contains("save_strategy is no"), process.output());
        }
    }

    @Tag("cluster")
    @Test
    void signalWhileDataAreRead() throws IOException, InterruptedException {
        String rows = Files.readString(folder.resolve("train.jsonl"));
        try (var out = Files.newBufferedWriter(folder.resolve("train.jsonl"))) {
            for (int i = 0; i < 200_000; i++) {
                out.write(rows);
            }
        }
        try (JloraProcess process = start()) {
            process.awaitOutput("cpu: ");
            Thread.sleep(300);
            process.signal("TERM");
            assertEquals(ExitCode.PREEMPTED.code(), process.exitCode(SOON), process.output());
            assertTrue(
                    process.output().contains("SIGTERM while the data were read"),
                    process.output());
        }
    }

    @Tag("cluster")
    @Test
    void signalWhileTheModelIsLoaded() throws IOException, InterruptedException {
        Path config = run.model().resolve("config.json");
        String large =
                Files.readString(config)
                        .replaceFirst("\"hidden_size\": *\\d+", "\"hidden_size\": 2048")
                        .replaceFirst("\"intermediate_size\": *\\d+", "\"intermediate_size\": 8192")
                        .replaceFirst("\"num_hidden_layers\": *\\d+", "\"num_hidden_layers\": 8");
        Files.writeString(config, large);
        try (JloraProcess process = start("--random_init", true, "--cpu_threads", 1)) {
            process.awaitOutput("bytes moved in a step");
            process.signal("TERM");
            assertEquals(ExitCode.PREEMPTED.code(), process.exitCode(SOON), process.output());
            assertTrue(
                    process.output().contains("SIGTERM while the model was loaded"),
                    process.output());
        }
    }

    /** The evaluation that was cut short comes first when the run goes on. */
    @Tag("cluster")
    @Test
    void signalWhileTheModelIsEvaluated() throws IOException, InterruptedException {
        String rows = Files.readString(folder.resolve("eval.jsonl"));
        Files.writeString(folder.resolve("eval.jsonl"), rows.repeat(3000));
        Object[] steps = {"--max_steps", 6, "--eval_steps", 3};
        try (JloraProcess process = start(steps)) {
            process.awaitOutput("step 3/");
            Thread.sleep(100);
            preempted(process, "TERM");
            assertTrue(!process.output().contains("eval_loss"), process.output());
        }
        assertEquals(3, newestCheckpoint());
        CommandLineRun.succeeds(
                Stream.concat(
                                Stream.of(words(steps)),
                                Stream.of("--resume_from_checkpoint", "auto"))
                        .toArray());
        Path whole = folder.resolve("whole");
        CommandLineRun.succeeds(
                Stream.concat(Stream.of(words(steps)), Stream.of("--output_dir", whole)).toArray());
        ResumeTest.assertSameResults(whole, run.out());
    }

    @Tag("cluster")
    @Test
    void signalWhileACheckpointIsWritten() throws IOException, InterruptedException {
        try (JloraProcess process = start("--max_steps", 50_000, "--save_steps", 10)) {
            while (!isSaving() && process.isAlive()) {
                Thread.onSpinWait();
            }
            preempted(process, "TERM");
        }
    }

    private boolean isSaving() throws IOException {
        if (!Files.exists(run.out())) {
            return false;
        }
        try (Stream<Path> files = Files.list(run.out())) {
            return files.anyMatch(f -> f.getFileName().toString().startsWith(".checkpoint-"));
        }
    }

    @Tag("cluster")
    @ParameterizedTest
    @CsvSource({"TERM, 143", "INT, 130", "USR1, 138"})
    void secondSignalEndsTheProcessAtOnce(String signal, int code)
            throws IOException, InterruptedException {
        oneStepTakesManySeconds();
        try (JloraProcess process =
                start(
                        "--max_steps", 3,
                        "--per_device_train_batch_size", 4,
                        "--gradient_accumulation_steps", 15_000,
                        "--eval_datasets", "[]")) {
            process.awaitOutput("bytes moved in a step");
            Thread.sleep(1500);
            process.signal(signal);
            process.awaitOutput("once more to end at once");
            process.signal(signal);
            assertEquals(code, process.exitCode(Duration.ofSeconds(3)), process.output());
        }
    }

    @Test
    void stepThatTakesLongerThanItMayEndsTheProcessWithADumpOfItsThreads()
            throws IOException, InterruptedException {
        oneStepTakesManySeconds();
        try (JloraProcess process =
                start(
                        "--max_steps", 3,
                        "--per_device_train_batch_size", 4,
                        "--gradient_accumulation_steps", 15_000,
                        "--eval_datasets", "[]",
                        "--step_timeout", 0.5)) {
            assertEquals(ExitCode.HANG.code(), process.exitCode(SOON), process.output());
            String output = process.output();
            assertTrue(output.contains("step 1 takes longer than step_timeout"), output);
            assertTrue(output.contains("jlora.trainer.loop.TrainLoop.steps"), output);
        }
    }

    private void oneStepTakesManySeconds() throws IOException {
        String row =
                "{\"input_ids\": "
                        + IntStream.range(0, 60)
                                .mapToObj(i -> Integer.toString(i))
                                .collect(Collectors.joining(", ", "[", "]"))
                        + ", \"labels\": "
                        + IntStream.range(0, 60)
                                .mapToObj(i -> Integer.toString(i))
                                .collect(Collectors.joining(", ", "[", "]"))
                        + "}";
        Files.writeString(folder.resolve("train.jsonl"), (row + "\n").repeat(60_000));
    }
}
