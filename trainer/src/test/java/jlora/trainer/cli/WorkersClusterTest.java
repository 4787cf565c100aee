package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;

import jlora.runtime.backend.cpu.mpi.MpiRun;
import jlora.runtime.io.Json;
import jlora.runtime.io.SafetensorsFile;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** The train command on several processes that a real Open MPI joins. */
@Tag("cluster")
class WorkersClusterTest {
    private static final double TIMEOUT_SECONDS = 10;

    /** After which a run counts as one that never ends. */
    private static final long LIMIT_SECONDS = 120;

    @TempDir Path folder;
    private RunFolder run;

    @BeforeEach
    void create() throws IOException {
        run = RunFolder.create(folder);
    }

    private List<String> train(String out, Object... words) {
        List<String> command = new ArrayList<>(MpiRun.java(Main.class));
        command.addAll(List.of("train", "-c", run.config().toString()));
        command.addAll(List.of("--device=cpu", "--cpu_threads=1"));
        command.add("--output_dir=" + run.path(out));
        Stream.of(words).map(Object::toString).forEach(command::add);
        return command;
    }

    private MpiRun mpi(int ranks, String out, Object... words)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(MpiRun.launcher(ranks));
        command.addAll(train(out, words));
        return MpiRun.of(command);
    }

    private List<JsonNode> metrics(String out) throws IOException {
        List<JsonNode> lines = new ArrayList<>();
        for (String line : Files.readAllLines(run.path(out).resolve("metrics.jsonl"))) {
            lines.add(Json.parseObject("metrics", 1, line.getBytes(StandardCharsets.UTF_8)));
        }
        return lines;
    }

    private byte[] adapter(String out) throws IOException {
        return Files.readAllBytes(run.path(out).resolve("adapter_model.safetensors"));
    }

    private float[] numbers(String out) {
        try (SafetensorsFile file =
                SafetensorsFile.open(run.path(out).resolve("adapter_model.safetensors"))) {
            List<Float> all = new ArrayList<>();
            file.entries()
                    .values()
                    .forEach(
                            entry -> {
                                for (float x :
                                        entry.data().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED)) {
                                    all.add(x);
                                }
                            });
            float[] numbers = new float[all.size()];
            for (int i = 0; i < numbers.length; i++) {
                numbers[i] = all.get(i);
            }
            return numbers;
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 4})
    void workersTrainWhatOneTrainsOnTheWholeBatch(int ranks)
            throws IOException, InterruptedException {
        Object[] always = {"--logging_steps=1", "--eval_steps=3", "--eval_strategy=steps"};
        MpiRun alone = MpiRun.of(train("alone", with(always, 4)));
        assertEquals(0, alone.code(), alone.output());
        for (String out : List.of("once", "again")) {
            MpiRun shared = mpi(ranks, out, with(always, 4 / ranks));
            assertEquals(0, shared.code(), shared.output());
            assertEquals(
                    1,
                    shared.output()
                            .lines()
                            .filter(l -> l.startsWith(ranks + " workers, joined by Open MPI"))
                            .count(),
                    "rank 0 alone speaks: " + shared.output());
            assertEquals(1, shared.output().lines().filter(l -> l.startsWith("Adapter")).count());
        }
        assertArrayEquals(adapter("once"), adapter("again"), "not the same bits run to run");
        List<JsonNode> expected = metrics("alone");
        List<JsonNode> found = metrics("once");
        assertEquals(expected.size(), found.size());
        for (int i = 0; i < expected.size(); i++) {
            String what = expected.get(i).has("eval_loss") ? "eval_loss" : "loss";
            double loss = expected.get(i).get(what).doubleValue();
            assertEquals(loss, found.get(i).get(what).doubleValue(), 1e-6 * loss, what + " " + i);
            for (String same : List.of("step", "tokens", "eval_tokens")) {
                assertEquals(expected.get(i).get(same), found.get(i).get(same), same);
            }
        }
        float[] one = numbers("alone");
        float[] many = numbers("once");
        double distance = 0;
        double length = 0;
        for (int i = 0; i < one.length; i++) {
            distance += Math.pow(one[i] - many[i], 2);
            length += Math.pow(one[i], 2);
        }
        assertTrue(Math.sqrt(distance / length) < 1e-5, Math.sqrt(distance / length) + "");
    }

    /** The data does not divide: at the end of an epoch and of an evaluation some have no batch. */
    @Test
    void sharingTheBaseChangesNoBit() throws IOException, InterruptedException {
        Object[] always = {
            "--eval_steps=2",
            "--eval_strategy=steps",
            "--per_device_train_batch_size=1",
            "--per_device_eval_batch_size=1",
            "--lora_target_modules=all-linear"
        };
        MpiRun whole = mpi(3, "whole", always);
        assertEquals(0, whole.code(), whole.output());
        Object[] sharing =
                Stream.concat(Stream.of(always), Stream.of("--shard_base=true")).toArray();
        MpiRun shared = mpi(3, "shared", sharing);
        assertEquals(0, shared.code(), shared.output());
        assertTrue(shared.output().contains("1/3 share"), shared.output());
        assertArrayEquals(adapter("whole"), adapter("shared"));
        List<JsonNode> expected = metrics("whole");
        List<JsonNode> found = metrics("shared");
        for (int i = 0; i < expected.size(); i++) {
            for (String same : List.of("loss", "grad_norm", "eval_loss")) {
                assertEquals(expected.get(i).get(same), found.get(i).get(same), same);
            }
        }
    }

    private static Object[] with(Object[] always, int batch) {
        return Stream.concat(Stream.of(always), Stream.of("--per_device_train_batch_size=" + batch))
                .toArray();
    }

    @Test
    void workersThatDifferInAKeyAreRefusedByItsName() throws IOException, InterruptedException {
        assertRefused(List.of("--learning_rate=1e-4"), "worker 1", "learning_rate");
    }

    @Test
    void workersThatDifferInTheirDataAreRefused() throws IOException, InterruptedException {
        List<String> rows = Files.readAllLines(run.path("train.jsonl"));
        Path other = Files.write(run.path("other.jsonl"), rows.subList(0, rows.size() - 1));
        assertRefused(
                List.of("--datasets=[{path: " + other + ", type: tokens}]"),
                "worker 1",
                "the data");
    }

    private void assertRefused(List<String> otherWords, String... parts)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(MpiRun.launcher(1));
        command.addAll(train("out"));
        command.addAll(List.of(":", "-n", "1"));
        command.addAll(train("out", otherWords.toArray()));
        MpiRun mpi = MpiRun.of(command);
        assertEquals(2, mpi.code(), mpi.output());
        for (String part : parts) {
            assertTrue(mpi.output().contains(part), mpi.output());
        }
        assertTrue(mpi.output().contains("jlora: rank "), mpi.output());
        assertFalse(Files.exists(run.out().resolve("metrics.jsonl")), "a refused run has files");
    }

    @Test
    void aRankOfARunThatMpiDidNotStartNamesTheLaunchers() throws IOException, InterruptedException {
        List<String> command =
                new ArrayList<>(List.of("env", "RANK=0", "WORLD_SIZE=2", "LOCAL_RANK=0"));
        command.addAll(train("out"));
        MpiRun alone = MpiRun.of(command);
        assertEquals(2, alone.code(), alone.output());
        assertTrue(alone.output().contains("mpirun -n 2"), alone.output());
        assertTrue(alone.output().contains("srun --mpi=pmix"), alone.output());
    }

    /** A long run on two ranks, as processes that can be found. */
    private final class Running implements AutoCloseable {
        private final Process mpirun;
        private final Path output = run.path("output.txt");

        Running(Object... words) throws IOException {
            List<String> command = new ArrayList<>(MpiRun.launcher(2));
            command.addAll(train("out", words));
            mpirun =
                    new ProcessBuilder(command)
                            .redirectErrorStream(true)
                            .redirectOutput(output.toFile())
                            .start();
        }

        String text() throws IOException {
            return Files.exists(output) ? Files.readString(output) : "";
        }

        void awaitSteps() throws IOException, InterruptedException {
            Path metrics = run.path("out").resolve("metrics.jsonl");
            long start = System.nanoTime();
            while (!Files.exists(metrics) || Files.readAllLines(metrics).size() < 3) {
                assertTrue(mpirun.isAlive(), text());
                assertTrue(System.nanoTime() - start < LIMIT_SECONDS * 1e9, text());
                Thread.sleep(50);
            }
        }

        ProcessHandle rank(int rank) throws IOException {
            for (ProcessHandle process : mpirun.descendants().toList()) {
                Path environment = Path.of("/proc/" + process.pid() + "/environ");
                String variables = Files.readString(environment, StandardCharsets.ISO_8859_1);
                if (variables.contains("OMPI_COMM_WORLD_RANK=" + rank + "\0")) {
                    return process;
                }
            }
            throw new AssertionError("no rank " + rank + ": " + text());
        }

        void signal(String name, ProcessHandle process) throws IOException, InterruptedException {
            new ProcessBuilder("kill", "-" + name, Long.toString(process.pid())).start().waitFor();
        }

        int code() throws InterruptedException, IOException {
            assertTrue(mpirun.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS), text());
            return mpirun.exitValue();
        }

        @Override
        public void close() {
            mpirun.descendants().forEach(ProcessHandle::destroyForcibly);
            mpirun.destroyForcibly();
        }
    }

    private static final Object[] LONG = {
        "--max_steps=100000", "--logging_steps=1", "--step_timeout=" + TIMEOUT_SECONDS
    };

    @Test
    void aFrozenRankEndsTheOthersWithinTheTimeout() throws Exception {
        try (Running running = new Running(LONG)) {
            running.awaitSteps();
            ProcessHandle first = running.rank(0);
            long start = System.nanoTime();
            running.signal("STOP", running.rank(1));
            first.onExit().get(LIMIT_SECONDS, TimeUnit.SECONDS);
            double seconds = (System.nanoTime() - start) / 1e9;
            assertEquals(7, running.code(), running.text());
            assertTrue(
                    seconds > 0.9 * TIMEOUT_SECONDS && seconds < 1.1 * TIMEOUT_SECONDS,
                    seconds + " s: " + running.text());
        }
    }

    @Test
    void aKilledRankEndsTheOthers() throws Exception {
        try (Running running = new Running(LONG)) {
            running.awaitSteps();
            ProcessHandle first = running.rank(0);
            running.signal("KILL", running.rank(1));
            first.onExit().get(2 * (long) TIMEOUT_SECONDS, TimeUnit.SECONDS);
            assertTrue(running.code() != 0, running.text());
        }
    }

    @Test
    void aSignalToOneRankStopsAllWithACheckpointThatTheyGoOnFrom() throws Exception {
        long step;
        String steps = "--max_steps=300";
        try (Running running = new Running(steps, "--logging_steps=1")) {
            running.awaitSteps();
            running.signal("TERM", running.rank(1));
            assertEquals(75, running.code(), running.text());
            try (Stream<Path> files = Files.list(run.path("out"))) {
                step =
                        files.map(f -> f.getFileName().toString())
                                .filter(name -> name.matches("checkpoint-\\d+"))
                                .mapToLong(name -> Long.parseLong(name.substring(11)))
                                .max()
                                .orElseThrow(() -> new AssertionError("no checkpoint"));
            }
        }
        assertTrue(step < 300, "the run ended before the signal came");
        MpiRun resumed = mpi(2, "out", "--resume_from_checkpoint=auto", steps);
        assertEquals(0, resumed.code(), resumed.output());
        assertTrue(resumed.output().contains("going on after step " + step), resumed.output());
        assertEquals(0, mpi(2, "undisturbed", steps).code());
        assertArrayEquals(adapter("undisturbed"), adapter("out"));
    }
}
