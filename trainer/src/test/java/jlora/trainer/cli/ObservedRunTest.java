package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.io.Json;
import jlora.trainer.checkpoint.CheckpointFolder;
import jlora.trainer.metrics.PrometheusPage;
import jlora.trainer.metrics.tensorboard.EventReader;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import picocli.CommandLine;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.ConnectException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * A run from the command line as those see it who watch it: collectors, Prometheus, TensorBoard.
 */
class ObservedRunTest {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    @TempDir Path folder;
    private RunFolder run;

    @BeforeEach
    void create() throws IOException {
        run = RunFolder.create(folder);
    }

    private static ObjectNode json(String line) {
        return Json.parseObject("log", 1, line.getBytes(StandardCharsets.UTF_8));
    }

    private static List<ObjectNode> json(List<String> lines) {
        return lines.stream().map(ObservedRunTest::json).toList();
    }

    /** Lines of the run's log, seen by the run's own thread when they are written. */
    private static final class Watcher extends StringWriter {
        private final Consumer<ObjectNode> seen;

        Watcher(Consumer<ObjectNode> seen) {
            this.seen = seen;
        }

        @Override
        public void write(String text, int from, int length) {
            super.write(text, from, length);
            seen.accept(json(text.substring(from, from + length)));
        }
    }

    /** Runs the program and hands over each line of its log before the run goes on. */
    private int watch(Consumer<ObjectNode> seen, String... words) {
        StringWriter errors = new StringWriter();
        PrintWriter err = new PrintWriter(errors, true);
        int code =
                Main.run(
                        new CommandLine(new JloraCommand()),
                        new Failures(err, false),
                        new PrintWriter(new Watcher(seen)),
                        err,
                        Stream.concat(
                                        Stream.of("train", "-c", run.config().toString()),
                                        Stream.of(words))
                                .toArray(String[]::new));
        assertEquals("", errors.toString());
        return code;
    }

    private static HttpResponse<String> get(long port, String path) {
        try {
            URI uri = URI.create("http://localhost:" + port + path);
            return CLIENT.send(
                    HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString());
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @Test
    void metricsAndHealthFollowTheRun() {
        Map<String, PrometheusPage> pages = new TreeMap<>();
        Map<String, Integer> ready = new TreeMap<>();
        long[] port = new long[1];
        int code =
                watch(
                        line -> {
                            String event = line.get("event").textValue();
                            if (event.equals("metrics_server")) {
                                port[0] = line.get("port").longValue();
                            }
                            if (port[0] != 0) {
                                String at = event + line.path("step").asText("");
                                String metrics = get(port[0], "/metrics").body();
                                pages.put(at, PrometheusPage.parse(metrics));
                                ready.put(at, get(port[0], "/ready").statusCode());
                                assertEquals(200, get(port[0], "/live").statusCode());
                            }
                        },
                        "--metrics-port",
                        "0",
                        "--log-format=json",
                        "--logging-steps=1",
                        "--eval-steps=3",
                        "--device=cpu");
        assertEquals(0, code);
        assertTrue(
                ready.keySet()
                        .containsAll(
                                List.of("device", "plan", "step1", "step6", "evaluation3", "end")),
                ready.toString());
        assertEquals(503, ready.get("device"));
        assertEquals(503, ready.get("plan"));
        assertEquals(200, ready.get("step1"));
        assertEquals(200, ready.get("evaluation3"));
        assertEquals(200, ready.get("end"));

        assertEquals(1, phase(pages.get("plan"), "loading"));
        assertEquals(1, phase(pages.get("step4"), "training"));
        assertEquals(1, phase(pages.get("evaluation3"), "evaluating"));
        assertFalse(pages.get("plan").has("jlora_loss"));
        // The log hears of a step just before the status does.
        assertEquals(3, pages.get("step4").value("jlora_step"));
        PrometheusPage end = pages.get("end");
        assertEquals(1, phase(end, "saving"));
        assertEquals(6, end.value("jlora_step"));
        assertEquals(6, end.value("jlora_max_steps"));
        assertEquals(6, end.value("jlora_step_seconds_count"));
        assertEquals(0, end.value("jlora_skipped_steps_total"));
        double goodput = end.value("jlora_goodput_ratio");
        assertTrue(goodput > 0 && goodput < 1, goodput + "");
        double planned = end.value("jlora_memory_planned_bytes");
        assertTrue(planned > 1e4 && planned < 1e8, planned + " bytes are planned");
        assertTrue(end.value("jlora_memory_used_bytes") > 1e7, "the process's resident memory");
        assertTrue(
                end.samples().stream()
                        .anyMatch(s -> s.startsWith("jlora_device_info{device=cpu: ")));
        assertTrue(isClosed(port[0]), "the server outlives the run");
    }

    private static double phase(PrometheusPage page, String phase) {
        return page.value("jlora_phase", Map.of("phase", phase));
    }

    private static boolean isClosed(long port) {
        try {
            get(port, "/live");
            return false;
        } catch (java.io.UncheckedIOException e) {
            return e.getCause() instanceof ConnectException;
        }
    }

    @Test
    void theLossesOfTheMetricsAreThoseOfTheFile() throws IOException {
        List<Double> logged = new ArrayList<>();
        watch(
                line -> {
                    if (line.get("event").textValue().equals("step")) {
                        logged.add(line.get("loss").doubleValue());
                    }
                },
                "--log-format=json",
                "--eval-strategy=no");
        List<Double> written =
                json(Files.readAllLines(run.out().resolve("metrics.jsonl"))).stream()
                        .map(line -> line.get("loss").doubleValue())
                        .toList();
        assertEquals(3, logged.size());
        assertEquals(written, logged);
    }

    @Test
    void aPortInUseEndsTheRunBeforeItBegins() throws IOException {
        try (ServerSocket taken = new ServerSocket(0)) {
            run.run("train", "--metrics_port", taken.getLocalPort())
                    .refused(
                            ExitCode.USAGE,
                            "command line: metrics_port " + taken.getLocalPort(),
                            "in use",
                            "choose another");
        }
        assertFalse(Files.exists(run.out()));
    }

    @Test
    void tensorboardGetsTheNumbersOfMetricsJsonl() throws IOException {
        run.succeeds("train", "--report_to", "tensorboard", "--eval_steps=3");
        List<EventReader.Event> events = EventReader.read(onlyEventFile());
        List<ObjectNode> lines = json(Files.readAllLines(run.out().resolve("metrics.jsonl")));
        assertEquals(lines.size() + 1, events.size());
        for (int i = 0; i < lines.size(); i++) {
            EventReader.Event event = events.get(i + 1);
            JsonNode line = lines.get(i);
            assertEquals(line.get("step").longValue(), event.step());
            boolean evaluation = line.has("eval_loss");
            String tag = evaluation ? "eval/loss" : "train/loss";
            double loss = line.get(evaluation ? "eval_loss" : "loss").doubleValue();
            assertEquals((float) loss, event.scalars().get(tag));
        }
        // A run that replaces this one does not go on in its curves.
        run.succeeds("train", "--overwrite", "--report_to", "jsonl", "tensorboard");
        assertEquals(5, EventReader.read(onlyEventFile()).size());
        run.succeeds("train", "--overwrite");
        try (Stream<Path> files = Files.list(run.out().resolve("runs/jlora"))) {
            assertEquals(List.of(), files.toList());
        }
    }

    @Test
    void aResumedRunIsTheSameRunToWhoWatches() throws IOException {
        String[] words = {"--save_steps=2", "--logging_steps=1", "--report_to=tensorboard"};
        run.succeeds("train", (Object[]) words);
        // As if the process had been killed before its last two checkpoints.
        for (CheckpointFolder checkpoint : CheckpointFolder.in(run.out())) {
            if (checkpoint.step() > 2) {
                checkpoint.delete();
            }
        }
        long[] port = new long[1];
        Map<String, PrometheusPage> pages = new TreeMap<>();
        List<Long> checkpoints = new ArrayList<>();
        int code =
                watch(
                        line -> {
                            String event = line.get("event").textValue();
                            if (event.equals("metrics_server")) {
                                port[0] = line.get("port").longValue();
                            }
                            if (event.equals("checkpoint")) {
                                checkpoints.add(line.get("step").longValue());
                            }
                            if (event.equals("start") || event.equals("end")) {
                                pages.put(
                                        event,
                                        PrometheusPage.parse(get(port[0], "/metrics").body()));
                            }
                        },
                        Stream.concat(
                                        Stream.of(words),
                                        Stream.of(
                                                "--resume_from_checkpoint=auto",
                                                "--metrics_port=0",
                                                "--log_format=json"))
                                .toArray(String[]::new));
        assertEquals(0, code);
        PrometheusPage start = pages.get("start");
        assertEquals(2, start.value("jlora_step"));
        assertEquals(2, start.value("jlora_resumed_from_step"));
        assertEquals(2, start.value("jlora_last_checkpoint_step"));
        assertTrue(start.value("jlora_last_checkpoint_age_seconds") > 0);
        PrometheusPage end = pages.get("end");
        assertEquals(6, end.value("jlora_step"));
        assertEquals(4, end.value("jlora_steps_total"));
        assertEquals(
                0, end.value("jlora_goodput_ratio"), "all six steps were done and logged before");
        assertEquals(checkpoints.getLast(), (long) end.value("jlora_last_checkpoint_step"));
        assertTrue(checkpoints.getFirst() >= 4, checkpoints.toString());

        try (Stream<Path> files = Files.list(run.out().resolve("runs/jlora"))) {
            List<Path> both = files.sorted().toList();
            assertEquals(2, both.size());
            List<EventReader.Event> second = EventReader.read(both.get(1));
            assertTrue(second.get(1).restart());
            assertEquals(3, second.get(1).step());
            assertEquals(3, second.get(2).step());
            assertEquals(
                    EventReader.read(both.get(0)).get(3).scalars().get("train/loss"),
                    second.get(2).scalars().get("train/loss"));
        }
    }

    private Path onlyEventFile() throws IOException {
        try (Stream<Path> files = Files.list(run.out().resolve("runs/jlora"))) {
            List<Path> all = files.toList();
            assertEquals(1, all.size(), all.toString());
            return all.getFirst();
        }
    }

    @Test
    void asJsonEveryLineIsAnObjectFromThePlanToTheEnd() {
        Instant before = Instant.now();
        List<ObjectNode> lines =
                json(run.succeeds("train", "--log_format=json", "--eval_steps=3").lines().toList());
        List<String> events = lines.stream().map(l -> l.get("event").textValue()).toList();
        assertEquals("device", events.getFirst());
        assertEquals(
                List.of(
                        "plan",
                        "start",
                        "step",
                        "evaluation",
                        "step",
                        "step",
                        "evaluation",
                        "memory",
                        "end"),
                events.subList(events.indexOf("plan"), events.size()));
        for (ObjectNode line : lines) {
            Instant time = Instant.parse(line.get("time").textValue());
            assertTrue(!time.isBefore(before.minusSeconds(1)) && time.isBefore(Instant.MAX));
            assertTrue(line.get("message").isTextual() && line.get("level").isTextual());
        }
        ObjectNode plan = lines.get(events.indexOf("plan"));
        assertTrue(plan.get("fits").booleanValue());
        assertTrue(plan.get("total_bytes").longValue() > 0);
        assertTrue(plan.get("memory").isArray());
        ObjectNode memory = lines.get(events.indexOf("memory"));
        long planned = plan.get("total_bytes").longValue();
        assertEquals(planned, memory.get("planned_bytes").longValue());
        long unplanned = memory.get("allocated_bytes").longValue() - planned;
        assertTrue(unplanned >= 0 && unplanned <= 1024, memory::toString); // loss, rate, norm
        assertTrue(memory.get("counted_bytes").longValue() > planned, memory::toString);
        ObjectNode end = lines.getLast();
        assertEquals(run.out().toString(), end.get("path").textValue());
        assertEquals(6, end.get("steps").longValue());
    }

    @ParameterizedTest
    @ValueSource(strings = {"--log-format json", "--log_format=json", "log_format=json", "file"})
    void anErrorIsOneJsonLineWithTheExitCode(String how) throws IOException {
        List<Object> words = new ArrayList<>(List.of("--max_steps", "none"));
        if (how.equals("file")) {
            run.write("run.yaml", Files.readString(run.config()) + "log_format: json\n");
        } else {
            words.addAll(List.of(how.split(" ")));
        }
        CommandLineRun failed = run.run("train", words.toArray());
        assertEquals("", failed.out());
        assertEquals(1, failed.err().lines().count(), failed.err());
        ObjectNode error = json(failed.err().strip());
        assertEquals("error", error.get("event").textValue());
        assertEquals("error", error.get("level").textValue());
        assertEquals(2, error.get("exit_code").intValue());
        assertEquals(2, failed.code());
        assertEquals("usage or configuration", error.get("reason").textValue());
        assertTrue(error.get("message").textValue().contains("max_steps"), failed.err());
        assertFalse(error.has("stack_trace"), "a user's mistake");
    }

    @Test
    void aFailureDuringTheRunFollowsItsLog() throws IOException {
        Files.delete(run.model().resolve("model.safetensors"));
        CommandLineRun failed = run.run("train", "--log-format=json");
        assertTrue(json(failed.out().lines().toList()).size() > 1);
        ObjectNode error = json(failed.err().strip());
        assertEquals(3, error.get("exit_code").intValue());
        assertEquals(3, failed.code());
    }

    @Test
    void argumentsThatCannotBeParsedAreToldAsJsonToo() {
        CommandLineRun failed = CommandLineRun.of("train", "--log-format=json", "--config");
        assertEquals(2, failed.code());
        assertEquals(2, json(failed.err().strip()).get("exit_code").intValue());
    }

    @Test
    void withoutTheKeyErrorsAreText() {
        run.run("train", "--max_steps", "none", "--log_format", "text")
                .refused(ExitCode.USAGE, "max_steps");
        run.run("train", "--log_format", "jsn").refused(ExitCode.USAGE, "log_format", "json");
    }
}
