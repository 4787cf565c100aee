package jlora.trainer.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.io.Json;

import org.junit.jupiter.api.Test;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** What a run prints, in words and as JSON. */
class RunLogTest {
    private final StringWriter text = new StringWriter();
    private final JsonLog json =
            new JsonLog(
                    new PrintWriter(text),
                    Clock.fixed(Instant.parse("2026-03-01T10:00:00.5Z"), ZoneOffset.UTC));

    private List<ObjectNode> lines() {
        return text.toString()
                .lines()
                .map(l -> Json.parseObject("log", 1, l.getBytes(StandardCharsets.UTF_8)))
                .toList();
    }

    @Test
    void anEventIsOneLineWithTimeLevelNameMessageAndFields() {
        json.say(
                RunEvent.warning("checkpoint", "a \"line\"\nand \u2028 another")
                        .with("step", 5L)
                        .with("rank", 3)
                        .with("share", 0.25)
                        .with("best", true)
                        .with("path", Path.of("runs/x"))
                        .with("more", Json.object().put("a", 1)));
        assertEquals(
                "{\"time\":\"2026-03-01T10:00:00.500Z\",\"level\":\"warning\",\"event\":\"checkpoint\",\"message\":\"a"
                    + " \\\"line\\\"\\n"
                    + "and \u2028"
                    + " another\",\"step\":5,\"rank\":3,\"share\":0.25,\"best\":true,\"path\":\"runs/x\",\"more\":{\"a\":1}}\n",
                text.toString());
    }

    @Test
    void numbersThatAreNotFiniteAreNamed() {
        json.say(RunEvent.info("step", "x").with("loss", Double.NaN));
        assertEquals("[\"loss\"]", lines().getFirst().get("non_finite").toString());
        assertTrue(lines().getFirst().get("loss").isNull());
    }

    @Test
    void stepsComeOncePerLoggedLine() {
        json.started(new RunStart(2, 0, 7, 1, 2, Optional.empty(), 1));
        for (int i = 3; i <= 7; i++) {
            json.step(new StepMetrics(i, i / 10.0, i, 0.5, 1e-4, 100, 0.5));
            if (i == 5) {
                json.evaluated(new EvalMetrics(5, 0.5, 0.0, 7, 1));
            }
        }
        json.finished();
        assertEquals(
                List.of("start 2", "step 4", "evaluation 5", "step 6", "step 7"),
                lines().stream()
                        .map(l -> l.get("event").textValue() + " " + l.get("step"))
                        .toList());
        ObjectNode step = lines().get(1);
        assertEquals(3.5, step.get("loss").doubleValue());
        assertEquals(200, step.get("tokens_per_second").doubleValue());
        assertEquals(7, step.get("total_steps").longValue());
        assertEquals(1.0, lines().get(2).get("eval_perplexity").doubleValue());
    }

    @Test
    void aSkippedStepHasALineOfItsOwn() {
        json.started(new RunStart(0, 0, 7, 1, 2, Optional.empty(), 1));
        json.step(new StepMetrics(1, 0.1, Double.NaN, 0.5, 1e-4, 100, 0.5, true, 3));
        json.step(new StepMetrics(2, 0.1, 2, 0.5, 1e-4, 100, 0.5, false, 3));
        ObjectNode skipped = lines().get(1);
        assertEquals("skipped_step", skipped.get("event").textValue());
        assertEquals("warning", skipped.get("level").textValue());
        assertEquals(1, skipped.get("step").longValue());
        assertTrue(skipped.get("loss").isNull());
        assertEquals("step", lines().get(2).get("event").textValue());
        assertEquals(3, lines().get(2).get("skipped_steps").longValue());
    }

    @Test
    void linesOfSeveralThreadsStayWhole() throws InterruptedException {
        List<Thread> threads = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
            threads.add(
                    Thread.ofPlatform()
                            .start(
                                    () -> {
                                        for (int i = 0; i < 200; i++) {
                                            json.say(RunEvent.info("e", "x".repeat(50)));
                                        }
                                    }));
        }
        for (Thread thread : threads) {
            thread.join();
        }
        assertEquals(800, lines().size());
    }

    @Test
    void fieldsThatEveryLineHasCannotBeSetTwice() {
        RunEvent event = RunEvent.info("e", "x");
        assertThrows(IllegalArgumentException.class, () -> event.with("time", 1));
        assertThrows(IllegalArgumentException.class, () -> RunEvent.info("no words", "x"));
    }

    @Test
    void inWordsAnEventIsItsTextAboveTheBar() {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        PrintStream terminal = new PrintStream(bytes, false, StandardCharsets.UTF_8);
        ConsoleProgress progress = new ConsoleProgress(terminal, true, () -> 80, () -> 0);
        RunLog log = new TextLog(new PrintWriter(terminal), progress);
        log.say(RunEvent.info("device", "cpu"));
        log.note("something");
        log.started(new RunStart(0, 0, 4, 1, 10, Optional.empty(), 1));
        log.step(new StepMetrics(1, 0.1, 2.5, 0.75, 2e-4, 1500, 1));
        log.say(RunEvent.warning("disk", "nearly full"));
        log.finished();
        log.say(RunEvent.info("end", "all done"));
        String printed = bytes.toString(StandardCharsets.UTF_8);
        String erase = "\r\u001b[K";
        assertTrue(printed.startsWith("cpu\nnote: something\n" + erase + "1/4 "), printed);
        assertTrue(printed.contains(erase + "warning: nearly full\n" + erase + "1/4 "), printed);
        assertTrue(printed.endsWith("\nall done\n"), printed);
    }
}
