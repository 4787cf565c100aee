package jlora.trainer.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.trainer.cli.CommandLineRun;
import jlora.trainer.config.RunConfig;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The batch script, run by bash with an srun and a scontrol of the test's own. */
@Execution(ExecutionMode.CONCURRENT)
class SlurmScriptTest {
    @TempDir Path folder;

    private Path script(Launch launch, Object... words) throws IOException {
        List<Object> all = new ArrayList<>(List.of("--dry-run"));
        all.addAll(List.of(words));
        CommandLineRun run = launch.run("slurm", all.toArray());
        assertEquals(0, run.code(), run.err());
        return Files.writeString(folder.resolve("job.sbatch"), run.out());
    }

    private record Ended(int code, String output) {}

    private Ended bash(Map<String, String> environment, String... arguments)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("bash"));
        command.addAll(List.of(arguments));
        ProcessBuilder builder =
                new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true);
        builder.environment().putAll(environment);
        Process process = builder.start();
        String output = new String(process.getInputStream().readAllBytes());
        return new Ended(process.waitFor(), output);
    }

    /**
     * An srun that runs its command once for each task, and ends as srun does; a scontrol that
     * tells.
     */
    private Map<String, String> slurm(int tasks) throws IOException {
        Launch.program(
                folder.resolve("bin/srun"),
                """
                while [[ $1 == --* ]]; do echo "srun $1" >> "$LOG"; shift; done
                worst=0
                for ((i = 0; i < TASKS; i++)); do
                    SLURM_PROCID=$i SLURM_LOCALID=$i SLURM_NTASKS=$TASKS "$@" || worst=$?
                done
                exit $worst
                """);
        Launch.program(
                folder.resolve("bin/scontrol"),
                """
                echo "scontrol $*" >> "$LOG"
                [[ $1 == show ]] && printf 'node-a\\nnode-b\\n'
                exit 0
                """);
        return Map.of(
                "PATH",
                folder.resolve("bin") + ":" + System.getenv("PATH"),
                "LOG",
                folder.resolve("log").toString(),
                "TASKS",
                String.valueOf(tasks),
                "SLURM_JOB_ID",
                "17",
                "SLURM_JOB_NODELIST",
                "node-[a-b]");
    }

    private String log() throws IOException {
        return Files.readString(folder.resolve("log"));
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void asksForWhatThePlanNeeds() throws IOException {
        Launch launch = Launch.in(folder);
        String text =
                Files.readString(
                        script(
                                launch,
                                "--jlora",
                                "/bin/true",
                                "--device",
                                "h100",
                                "--workers",
                                16,
                                "--partition",
                                "gpu",
                                "--account",
                                "team",
                                "--time",
                                "1-00:00:00",
                                "--grace",
                                500,
                                "--cpus",
                                6,
                                "--sbatch=--exclusive"));
        for (String line :
                List.of(
                        "--nodes=2",
                        "--ntasks=16",
                        "--ntasks-per-node=8",
                        "--gpus-per-node=8",
                        "--cpus-per-task=6",
                        "--mem=" + 8 * (2048 + 512 + 4096) + "M",
                        "--signal=TERM@500",
                        "--requeue",
                        "--open-mode=append",
                        "--partition=gpu",
                        "--account=team",
                        "--time=1-00:00:00",
                        "--exclusive",
                        "--job-name=out")) {
            assertTrue(text.contains("#SBATCH " + line + "\n"), line + " is not in " + text);
        }
        // sbatch reads options up to the first command.
        assertTrue(text.lastIndexOf("#SBATCH") < text.indexOf("\nexport"), text);
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @ParameterizedTest
    @ValueSource(strings = {"plain", "two words", "it's", "$(date)`id`", "a\"b\\c", "100%j&;*"})
    void oddPathsStayWhatTheyAre(String name) throws IOException, InterruptedException {
        Launch launch = Launch.in(folder.resolve(name));
        Path seen = folder.resolve("seen");
        Path jlora =
                Launch.program(
                        folder.resolve(name).resolve("jlora"),
                        "printf '%s\\n' \"$@\" > '" + seen + "'\n");
        Path script = script(launch, "--device", "cpu", "--jlora", jlora);
        assertEquals(new Ended(0, ""), bash(Map.of(), "-n", script.toString()));
        assertEquals(new Ended(0, ""), bash(slurm(1), script.toString()));
        assertEquals(
                List.of(
                        "train",
                        "-c",
                        launch.path("out/launch/config.yaml").toString(),
                        "resume_from_checkpoint=auto",
                        "device=cpu",
                        "cpu_threads=4"),
                Files.readAllLines(seen));
        assertEquals("srun --kill-on-bad-exit=1\nsrun --mpi=pmix\n", log());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @ParameterizedTest
    @CsvSource({
        "0 0 0, 0, false",
        "75 75 75, 75, true",
        "75 0 75, 75, true",
        "7 75 75, 7, false",
        "4 4 4, 4, false",
        "143 143 143, 143, false"
    })
    void exitCode75AloneRequeues(String codes, int expected, boolean requeued)
            throws IOException, InterruptedException {
        Launch launch = Launch.in(folder);
        Path jlora =
                Launch.program(
                        folder.resolve("jlora"),
                        "codes=(" + codes + "); exit ${codes[SLURM_PROCID]}\n");
        Path script = script(launch, "--device", "cpu", "--workers", 3, "--jlora", jlora);
        Ended ended = bash(slurm(3), script.toString());
        assertEquals(expected, ended.code(), ended.output());
        assertEquals(requeued, log().contains("scontrol requeue 17\n"), log());
        assertFalse(Files.exists(folder.resolve("out/launch/marks/17.0")));
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void gpuWorkersGetRanks() throws IOException, InterruptedException {
        Launch launch = Launch.in(folder);
        Path jlora =
                Launch.program(
                        folder.resolve("jlora"),
                        "echo \"$RANK $LOCAL_RANK $WORLD_SIZE $MASTER_ADDR $MASTER_PORT"
                                + " ${!#}\" >> \"$LOG\"\n");
        Path script =
                script(
                        launch,
                        "--device",
                        "h100",
                        "--workers",
                        2,
                        "--jlora",
                        jlora,
                        "metrics_port=9400");
        assertEquals(new Ended(0, ""), bash(slurm(2), script.toString()));
        assertEquals(
                """
                scontrol show hostnames node-[a-b]
                srun --kill-on-bad-exit=1
                0 0 2 node-a 20017 device=cuda
                1 1 2 node-a 20017 device=cuda
                """,
                log());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void aFailureLeavesItsReasonInTheLog() throws IOException, InterruptedException {
        Launch launch = Launch.in(folder);
        Path jlora =
                Launch.program(
                        folder.resolve("jlora"),
                        "echo '{\"exit_code\":5}' > \"$JLORA_TERMINATION_LOG\"; exit 5\n");
        Path script = script(launch, "--device", "cpu", "--jlora", jlora);
        assertEquals(new Ended(5, "{\"exit_code\":5}\n"), bash(slurm(1), script.toString()));
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void submittingWritesScriptAndConfiguration() throws IOException, InterruptedException {
        Launch launch = Launch.in(folder);
        Path sbatch =
                Launch.program(
                        folder.resolve("bin/sbatch"), "echo \"Submitted batch job 5: $1\"\n");
        CommandLineRun run = inNewProcess(launch, sbatch);
        assertEquals(0, run.code(), run.err());
        Path script = launch.path("out/launch/job.sbatch");
        assertTrue(run.err().contains("Submitted batch job 5: " + script), run.err());
        RunConfig back =
                RunConfig.load(Optional.of(launch.path("out/launch/config.yaml")), List.of());
        assertEquals(Optional.of(launch.path("out")), back.output().outputDir());
        assertEquals(launch.path("rows.jsonl"), back.data().datasets().getFirst().path());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void refusalsOfSbatchArePassedOn() throws IOException, InterruptedException {
        Launch launch = Launch.in(folder);
        Path sbatch =
                Launch.program(
                        folder.resolve("bin/sbatch"), "echo 'invalid partition' >&2; exit 1\n");
        CommandLineRun run = inNewProcess(launch, sbatch);
        assertEquals(ExitCode.USAGE.code(), run.code());
        assertTrue(
                run.err()
                        .contains("jlora: sbatch refused the job (exit code 1): invalid partition"),
                run.err());
        Files.delete(sbatch);
        CommandLineRun missing = inNewProcess(launch, sbatch);
        assertEquals(ExitCode.USAGE.code(), missing.code());
        assertTrue(missing.err().contains("jlora: sbatch is not on the PATH"), missing.err());
    }

    /** With a PATH that has this one program. */
    private static CommandLineRun inNewProcess(Launch launch, Path tool)
            throws IOException, InterruptedException {
        return JloraProcess.start(
                        Map.of("PATH", tool.getParent().toString()),
                        "launch",
                        "slurm",
                        "-c",
                        launch.path("run.yaml").toString(),
                        "--device",
                        "cpu",
                        "--jlora",
                        "/bin/true")
                .await();
    }
}
