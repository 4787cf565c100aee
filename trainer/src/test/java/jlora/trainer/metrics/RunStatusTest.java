package jlora.trainer.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;

/** What a run's metrics say, page by page. */
class RunStatusTest {
    private final ManualClock clock = new ManualClock();
    private final RunStatus run = clock.run(30);

    private PrometheusPage page() {
        return PrometheusPage.parse(StatusPage.of(run));
    }

    private void start(long done) {
        run.started(new RunStart(done, 100 * done, 50, 2.5, 10, Optional.empty(), 4));
    }

    private void step(long step, double loss, double seconds) {
        clock.pass(seconds);
        boolean skipped = !Double.isFinite(loss);
        run.step(new StepMetrics(step, step / 20.0, loss, 0.5, 2e-4, 100, seconds, skipped, 0));
    }

    @Test
    void beforeTheFirstStepThereAreNoFiguresOfSteps() {
        PrometheusPage page = page();
        assertEquals(0, page.value("jlora_step"));
        for (String name :
                List.of("jlora_loss", "jlora_max_steps", "jlora_last_checkpoint_age_seconds")) {
            assertFalse(page.has(name), name);
        }
        assertEquals(0, page.value("jlora_step_seconds_count"));
        assertEquals(1, page.value("jlora_phase", Map.of("phase", "loading")));
        assertEquals(0, page.value("jlora_phase", Map.of("phase", "training")));
    }

    @Test
    void metricsAreThoseOfTheLastStepAndEvaluation() {
        start(0);
        step(1, 2.5, 0.3);
        step(2, 2.25, 0.2);
        run.evaluated(new EvalMetrics(2, 0.1, 1.5, 7, 1));
        PrometheusPage page = page();
        assertEquals(2, page.value("jlora_step"));
        assertEquals(50, page.value("jlora_max_steps"));
        assertEquals(0.1, page.value("jlora_epoch"));
        assertEquals(2.25, page.value("jlora_loss"));
        assertEquals(0.5, page.value("jlora_grad_norm"));
        assertEquals(2e-4, page.value("jlora_learning_rate"));
        assertEquals(500, page.value("jlora_tokens_per_second"));
        assertEquals(1.5, page.value("jlora_eval_loss"));
        assertEquals(200, page.value("jlora_tokens_total"));
        assertEquals(2, page.value("jlora_steps_total"));
        assertEquals(0.5, page.value("jlora_step_seconds_sum"), 1e-12);
        assertEquals(1, page.value("jlora_step_seconds_bucket", Map.of("le", "0.25")));
        assertEquals(2, page.value("jlora_step_seconds_bucket", Map.of("le", "0.5")));
    }

    @Test
    void goodputCountsNeitherLoadingNorEvaluationNorSaving() {
        clock.pass(4); // loading
        start(0);
        step(1, 2, 1);
        step(2, 2, 1);
        clock.pass(3); // evaluation
        run.evaluated(new EvalMetrics(2, 0.1, 1.5, 7, 3));
        clock.pass(1); // a stall
        assertEquals(2.0 / 10, page().value("jlora_goodput_ratio"), 1e-9);
        assertEquals(2, page().value("jlora_productive_seconds_total"));
    }

    @Test
    void stepsThatAreDoneAgainAfterAResumeBringNothing() {
        run.resumed(10, 12);
        assertEquals(10, page().value("jlora_step"));
        start(10);
        step(11, 2, 1);
        step(12, 2, 1);
        assertEquals(0, page().value("jlora_goodput_ratio"));
        step(13, 2, 2);
        PrometheusPage page = page();
        assertEquals(0.5, page.value("jlora_goodput_ratio"), 1e-9);
        assertEquals(10, page.value("jlora_resumed_from_step"));
        assertEquals(13, page.value("jlora_step"));
        assertEquals(3, page.value("jlora_steps_total"));
        assertEquals(300, page.value("jlora_tokens_total"), "counters are of this process");
    }

    @Test
    void stepsThatAreNotFiniteAreSkippedAndBringNothing() {
        start(0);
        step(1, Double.NaN, 1);
        step(2, Double.POSITIVE_INFINITY, 1);
        assertTrue(Double.isInfinite(page().value("jlora_loss")));
        step(3, 2, 2);
        PrometheusPage page = page();
        assertEquals(2, page.value("jlora_skipped_steps_total"));
        assertEquals(3, page.value("jlora_steps_total"));
        assertEquals(0.5, page.value("jlora_goodput_ratio"), 1e-9);
    }

    @Test
    void theNewestCheckpointHasAStepAndAnAge() {
        clock.pass(100);
        run.checkpoint(5, ManualClock.START.plusSeconds(40));
        clock.pass(7);
        PrometheusPage page = page();
        assertEquals(5, page.value("jlora_last_checkpoint_step"));
        assertEquals(67, page.value("jlora_last_checkpoint_age_seconds"), 1e-6);
        assertEquals(1, page.value("jlora_checkpoints_total"));
        run.checkpoint(6, clock.instant());
        assertEquals(0, page().value("jlora_last_checkpoint_age_seconds"), 1e-6);
    }

    @Test
    void usedMemoryIsAskedForByTheRunAtMostOnceASecond() {
        AtomicInteger asked = new AtomicInteger();
        run.memory(1L << 40, () -> 1000 + asked.incrementAndGet());
        start(0);
        for (int i = 1; i <= 50; i++) {
            step(i, 2, 0.1);
            page();
        }
        assertEquals(1 + 5, asked.get(), 1);
        assertEquals(0x1p40, page().value("jlora_memory_planned_bytes"));
        assertEquals(1000 + asked.get(), page().value("jlora_memory_used_bytes"));
        run.memory(7, () -> 0);
        assertFalse(page().has("jlora_memory_used_bytes"), "nobody counts");
    }

    @Test
    void theRunIsLiveWhileSomethingMoves() {
        assertTrue(run.live());
        clock.pass(29.9);
        assertTrue(run.live());
        clock.pass(0.1);
        assertFalse(run.live());
        assertEquals(30, page().value("jlora_heartbeat_age_seconds"), 1e-6);
        List<Runnable> signs =
                List.of(
                        run::heartbeat,
                        () -> run.phase(RunPhase.TOKENISING),
                        () -> start(0),
                        () -> step(1, 2, 1),
                        () -> run.evaluated(new EvalMetrics(1, 0.1, 1.5, 7, 1)),
                        () -> run.checkpoint(1, clock.instant()));
        for (Runnable sign : signs) {
            clock.pass(31);
            assertFalse(run.live());
            sign.run();
            assertTrue(run.live());
        }
        clock.pass(1e9);
        run.phase(RunPhase.DONE);
        clock.pass(1e9);
        assertTrue(run.live(), "a run that has ended is not stuck");
    }

    @Test
    void withoutATimeoutTheRunIsAlwaysLive() {
        RunStatus patient = clock.run(0);
        clock.pass(1e9);
        assertTrue(patient.live());
    }

    @Test
    void labelsAndHelpAreEscaped() {
        String odd = "a \"GPU\" \\ of\ntwo lines, {x=\"y\"}";
        String text =
                new PrometheusText()
                        .info("some_info", "Help \\ of\ntwo.", Map.of("a", odd))
                        .toString();
        assertEquals(3, text.lines().count(), text);
        assertTrue(text.startsWith("# HELP some_info Help \\\\ of\\ntwo.\n"), text);
        assertEquals(1, PrometheusPage.parse(text).value("some_info", Map.of("a", odd)));
    }

    @Test
    void valuesOfAllSizesReadBackAsTheSameDouble() {
        Stream.of(0.0, -0.5, 1e-300, 1.5e300, 0x1p52 + 1, 0x1p60, 3e-5, 123456789012.0)
                .forEach(
                        value -> {
                            String text = new PrometheusText().gauge("g", "h", value).toString();
                            assertEquals(value, PrometheusPage.parse(text).value("g"));
                        });
    }
}
