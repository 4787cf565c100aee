package jlora.trainer.launch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.io.Json;
import jlora.trainer.cli.CommandLineRun;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Jobs under a real Slurm: submitted by jlora, preempted, and gone on with. */
@Tag("cluster")
class SlurmClusterTest {
    private static final Path PARITY = Path.of("src/test/resources/parity");

    @TempDir static Path cluster;
    private static OneNodeSlurm slurm;

    @TempDir Path folder;
    private Path jlora;

    @BeforeAll
    static void start() throws IOException, InterruptedException {
        StringBuilder whyNot = new StringBuilder();
        slurm = OneNodeSlurm.start(cluster, whyNot).orElse(null);
        if (slurm == null) {
            System.out.println("SlurmClusterTest is skipped: " + whyNot);
        }
        Assumptions.assumeTrue(slurm != null, whyNot.toString());
    }

    @AfterAll
    static void stop() throws IOException, InterruptedException {
        if (slurm != null) {
            slurm.stop();
        }
    }

    @BeforeEach
    void create() throws IOException {
        jlora =
                Launch.program(
                        folder.resolve("jlora"),
                        "exec " + Shell.quote(JloraProcess.command()) + " \"$@\"\n");
    }

    /** Submits a job and returns its number. */
    private String submit(Path config, Path program, int workers, Object... words)
            throws IOException, InterruptedException {
        List<String> all =
                new ArrayList<>(
                        List.of(
                                "launch",
                                "slurm",
                                "-c",
                                config.toString(),
                                "--device",
                                "cpu",
                                "--workers",
                                workers + "",
                                "--cpus",
                                "1",
                                "--heap",
                                "256MiB",
                                "--jlora",
                                program.toString()));
        for (Object word : words) {
            all.add(word.toString());
        }
        CommandLineRun run =
                JloraProcess.start(slurm.environment(), all.toArray(String[]::new)).await();
        assertEquals(0, run.code(), run.err());
        Matcher m = Pattern.compile("Submitted batch job (\\d+)").matcher(run.err());
        assertTrue(m.find(), run.err());
        return m.group(1);
    }

    private static String read(Path file) throws IOException {
        return Files.exists(file) ? Files.readString(file) : "";
    }

    private static void await(Path file, String part) throws IOException, InterruptedException {
        for (int i = 0; i < 1200 && !read(file).contains(part); i++) {
            Thread.sleep(100);
        }
        assertTrue(read(file).contains(part), part + " is not in " + file + ": " + read(file));
    }

    /** A configuration that trains long enough to be preempted; no checkpoint but at its end. */
    private Path training() throws IOException {
        Path model = Files.createDirectories(folder.resolve("model"));
        for (String name : List.of("config.json", "model.safetensors")) {
            Files.copy(PARITY.resolve("bases/llama_gqa").resolve(name), model.resolve(name));
        }
        Files.copy(PARITY.resolve("llama_gqa_qv/train.jsonl"), folder.resolve("train.jsonl"));
        return Files.writeString(
                folder.resolve("run.yaml"),
                """
                model_name_or_path: model
                datasets: [{path: train.jsonl, type: tokens}]
                per_device_train_batch_size: 2
                lora_target_modules: all-linear
                lora_dropout: 0.1
                learning_rate: 1.0e-3
                max_steps: 400
                save_steps: 100000
                logging_steps: 10
                max_length: 64
                step_timeout: 60
                """);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void aPreemptedJobEndsAsIfNothingHadHappened(int workers)
            throws IOException, InterruptedException {
        Path config = training();
        Path whole = folder.resolve("whole run");
        Path disturbed = folder.resolve("disturbed");
        String first = submit(config, jlora, workers, "output_dir=" + whole);
        assertEquals("COMPLETED", slurm.await(first), log(whole, first));

        String second = submit(config, jlora, workers, "output_dir=" + disturbed);
        await(disturbed.resolve("metrics.jsonl"), "\"step\":60,");
        slurm.call("scontrol", "requeue", second);
        assertEquals("COMPLETED", slurm.await(second), log(disturbed, second));
        String log = log(disturbed, second);
        assertEquals("1", slurm.job(second, "Restarts"), log);
        assertTrue(log.contains("going on after step "), log);
        String adapter = "adapter_model.safetensors";
        assertArrayEquals(
                Files.readAllBytes(whole.resolve(adapter)),
                Files.readAllBytes(disturbed.resolve(adapter)),
                log);
        assertEquals(0, log(whole, first).split("going on after").length - 1);
        // One run of all workers, not one for each: they share the rows of a step.
        assertEquals(400.0 / Math.ceilDiv(14, 2 * workers), lastEpoch(disturbed), 1e-9, log);
    }

    private static double lastEpoch(Path output) throws IOException {
        String last = Files.readAllLines(output.resolve("metrics.jsonl")).getLast();
        ObjectNode line =
                Json.parseObject("metrics.jsonl", 1, last.getBytes(StandardCharsets.UTF_8));
        assertEquals(400, line.get("step").asLong(), last);
        return line.get("epoch").asDouble();
    }

    private static String log(Path output, String job) throws IOException {
        return read(output.resolve("launch/slurm-" + job + ".out"));
    }

    /** Two workers that say what they hear; when the job is started again they succeed. */
    private Path standIn(String onTerm) throws IOException {
        return Launch.program(
                folder.resolve("stand-in"),
                """
                say() { echo "$* $SLURM_PROCID" >> '%s'; }
                say "start ${SLURM_RESTART_COUNT:-0} pmix ${PMIX_RANK:-none}"
                [[ ${SLURM_RESTART_COUNT:-0} == 0 ]] || exit 0
                trap 'stop=1' TERM
                while [[ -z ${stop:-} ]]; do sleep 0.1; done
                %s
                """
                        .formatted(folder.resolve("said"), onTerm));
    }

    private List<String> said() throws IOException {
        return read(folder.resolve("said")).lines().sorted().toList();
    }

    @Test
    void workersThatLeaveOneAfterTheOtherAreNotKilledAtTheirCheckpoint()
            throws IOException, InterruptedException {
        // The first is gone for seconds while the second still writes.
        Path program = standIn("sleep $((SLURM_PROCID * 3)); say saved; exit 75");
        String job = submit(training(), program, 2, "output_dir=" + folder.resolve("out"));
        await(folder.resolve("said"), "pmix 1 1");
        await(folder.resolve("said"), "pmix 0 0");
        slurm.call("scontrol", "requeue", job);
        assertEquals("COMPLETED", slurm.await(job));
        assertEquals(
                List.of(
                        "saved 0",
                        "saved 1",
                        "start 0 pmix 0 0",
                        "start 0 pmix 1 1",
                        "start 1 pmix 0 0",
                        "start 1 pmix 1 1"),
                said());
    }

    @Test
    void atItsTimeLimitAJobStopsAndGoesBackIntoTheQueue() throws IOException, InterruptedException {
        Path program = standIn("say saved; exit 75");
        String job =
                submit(
                        training(),
                        program,
                        2,
                        "--time",
                        1,
                        "--grace",
                        40,
                        "output_dir=" + folder.resolve("out"));
        assertEquals("COMPLETED", slurm.await(job));
        assertEquals("1", slurm.job(job, "Restarts"));
        assertEquals(List.of("saved 0", "saved 1"), said().subList(0, 2));
    }

    @Test
    void aFailureEndsTheJobWithItsCode() throws IOException, InterruptedException {
        Path program =
                Launch.program(
                        folder.resolve("fails"),
                        "[[ $SLURM_PROCID == 1 ]] && { sleep 1; exit 5; }; sleep 600\n");
        String job = submit(training(), program, 2, "output_dir=" + folder.resolve("out"));
        long start = System.nanoTime();
        assertEquals("FAILED", slurm.await(job));
        assertEquals("5:0", slurm.job(job, "ExitCode"));
        assertEquals("0", slurm.job(job, "Restarts"));
        // The other worker is not waited for.
        assertTrue(System.nanoTime() - start < 100e9);
    }
}
