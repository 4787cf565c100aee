package jlora.trainer.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.io.Json;
import jlora.trainer.cli.CommandLineRun;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * Workers of one machine, each a script in place of jlora: their ranks, their signals, their ends.
 * Planned for a GPU that is not here, so that nothing but the launcher is real.
 */
@Execution(ExecutionMode.CONCURRENT)
class LocalLauncherTest {
    @TempDir Path folder;
    private Launch launch;

    @BeforeEach
    void create() throws IOException {
        launch = Launch.in(folder);
    }

    /** Starts workers that append to the file {@code log} what the script says. */
    private JloraProcess start(int workers, String script, String... more) throws IOException {
        Path program =
                Launch.program(
                        folder.resolve("worker"),
                        "say() { echo \"$*\" >> '" + folder.resolve("log") + "'; }\n" + script);
        List<String> words =
                new ArrayList<>(
                        List.of(
                                "launch",
                                "local",
                                "-c",
                                launch.path("run.yaml").toString(),
                                "--device",
                                "h100",
                                "--workers",
                                String.valueOf(workers),
                                "--jlora",
                                program.toString()));
        words.addAll(List.of(more));
        // As in a pod of an Indexed Job, where the number of the pod is no rank.
        return JloraProcess.start(
                Map.of(
                        "JOB_COMPLETION_INDEX",
                        "3",
                        "JLORA_TERMINATION_LOG",
                        folder.resolve("end.json").toString()),
                words.toArray(String[]::new));
    }

    private List<String> log() throws IOException {
        Path log = folder.resolve("log");
        return Files.exists(log) ? Files.readAllLines(log).stream().sorted().toList() : List.of();
    }

    private void awaitLines(int lines) throws IOException, InterruptedException {
        for (int i = 0; i < 600 && log().size() < lines; i++) {
            Thread.sleep(100);
        }
        assertEquals(lines, log().size(), log() + "");
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void workersKnowTheirRanks() throws IOException, InterruptedException {
        CommandLineRun run =
                start(
                                4,
                                "say $RANK $LOCAL_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR"
                                        + " $MASTER_PORT ${JOB_COMPLETION_INDEX:-none} \"${!#}\"\n",
                                "--nodes",
                                "2",
                                "--node-rank",
                                "1",
                                "--master-addr",
                                "head",
                                "metrics_port=9400")
                        .await();
        assertEquals(0, run.code(), run.err());
        assertEquals(
                List.of(
                        "2 0 4 2 head 29500 none metrics_port=9400",
                        "3 1 4 2 head 29500 none metrics_port=9400"),
                log());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @ParameterizedTest
    @CsvSource({"0 0 0, 0", "0 75 75, 75", "75 75 75, 75", "5 5 5, 5"})
    void theWorstEndIsTheJobs(String codes, int expected) throws IOException, InterruptedException {
        CommandLineRun run = start(3, "codes=(" + codes + "); exit ${codes[RANK]}\n").await();
        assertEquals(expected, run.code(), run.err());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void oneFailureEndsAllAndSaysWhy() throws IOException, InterruptedException {
        CommandLineRun run =
                start(
                                3,
                                """
                                trap 'say "rank $RANK told"; kill $!; exit 75' TERM
                                if [[ $RANK == 1 ]]; then
                                    sleep 1
                                    echo '{"exit_code":6,"message":"lost"}' > "$JLORA_TERMINATION_LOG"
                                    exit 6
                                fi
                                sleep 600 & wait
                                """)
                        .await();
        assertEquals(ExitCode.GPU_FAULT.code(), run.code(), run.err());
        assertEquals(List.of("rank 0 told", "rank 2 told"), log());
        ObjectNode end = Json.readObject(folder.resolve("end.json"));
        assertEquals("lost", end.get("message").asText());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void aSignalReachesEveryWorkerOnce() throws IOException, InterruptedException {
        JloraProcess job =
                start(
                        2,
                        """
                        told=0
                        trap 'told=$((told + 1)); say "told $told"' TERM INT USR1
                        say ready
                        while [[ $told == 0 ]]; do sleep 0.1; done
                        sleep 1
                        exit 75
                        """);
        awaitLines(2);
        job.process().destroy();
        assertEquals(75, job.await().code());
        assertEquals(List.of("ready", "ready", "told 1", "told 1"), log());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void workersStopWhenTheirLauncherIsKilled() throws IOException, InterruptedException {
        JloraProcess job =
                start(
                        2,
                        """
                        trap 'say "told"; kill $!; exit 75' TERM
                        say ready
                        sleep 600 & wait
                        """);
        awaitLines(2);
        job.process().destroyForcibly().waitFor(60, TimeUnit.SECONDS);
        awaitLines(4);
        assertEquals(List.of("ready", "ready", "told", "told"), log());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void aDryRunShowsTheCommands() {
        CommandLineRun run =
                launch.run(
                        "local",
                        "--device",
                        "h100",
                        "--workers",
                        2,
                        "--dry-run",
                        "--jlora",
                        "/bin/true",
                        "--master-port",
                        4000,
                        "lora_r=4");
        assertEquals(0, run.code(), run.err());
        List<String> lines = run.out().lines().toList();
        assertEquals(2, lines.size(), run.out());
        assertTrue(lines.get(1).contains(" MASTER_PORT=4000 RANK=1 WORLD_SIZE=2 "), run.out());
        assertTrue(lines.get(1).endsWith(" lora_r=4"), run.out());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void whatDescribesNoJobIsRefused() {
        launch.run("local", "--device", "h100", "--workers", 3, "--nodes", 2)
                .refused(ExitCode.USAGE, "--workers 3", "--nodes 2");
        launch.run("local", "--device", "h100", "--workers", 4, "--nodes", 2, "--node-rank", 2)
                .refused(ExitCode.USAGE, "--node-rank 2");
        launch.run("local", "--device", "cpu", "--workers", 4, "--nodes", 2)
                .refused(ExitCode.USAGE, "--nodes 2", "Open MPI");
        launch.run("local", "--device", "cpu", "--jlora", folder)
                .refused(ExitCode.USAGE, "--jlora " + folder);
    }
}
