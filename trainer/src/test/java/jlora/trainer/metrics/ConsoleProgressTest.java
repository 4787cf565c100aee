package jlora.trainer.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

class ConsoleProgressTest {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private long nanos;

    private ConsoleProgress progress(boolean interactive, int width, Charset charset) {
        return new ConsoleProgress(
                new PrintStream(bytes, false, charset), interactive, () -> width, () -> nanos);
    }

    private void run(ConsoleProgress progress, int steps, long nanosPerStep) {
        progress.started(new RunStart(0, 0, steps, 1, 10, Optional.empty(), 1));
        for (int i = 1; i <= steps; i++) {
            nanos += nanosPerStep;
            progress.step(new StepMetrics(i, i / 100.0, 2.5, 0.75, 2e-4, 1500, nanosPerStep / 1e9));
        }
        progress.finished();
    }

    @Test
    void withoutATerminalThereIsOnePlainLinePerLoggedStep() {
        run(progress(false, 80, StandardCharsets.US_ASCII), 25, 1_000_000_000L);
        assertEquals(
                List.of(
                        "step 10/25  epoch 0.10  loss 2.5000  grad_norm 0.7500  lr 0.000200  1500"
                                + " tok/s  left 0:15",
                        "step 20/25  epoch 0.20  loss 2.5000  grad_norm 0.7500  lr 0.000200  1500"
                                + " tok/s  left 0:05",
                        "step 25/25  epoch 0.25  loss 2.5000  grad_norm 0.7500  lr 0.000200  1500"
                                + " tok/s  left 0:00"),
                bytes.toString(StandardCharsets.US_ASCII).lines().toList());
    }

    @Test
    void onATerminalTheBarIsRedrawnInPlace() {
        run(progress(true, 80, StandardCharsets.UTF_8), 4, 500_000_000L);
        List<String> drawn = drawn();
        assertTrue(drawn.get(1).startsWith("1/4 ━"), drawn.get(1));
        assertTrue(
                drawn.get(1).endsWith("┄  25%  loss 2.5000  3000 tok/s  0:01<0:02"), drawn.get(1));
        assertTrue(
                drawn.getLast().contains("━ 100%  loss 2.5000  3000 tok/s  0:02<0:00\n"),
                drawn.getLast());
        assertFalse(drawn.getLast().contains("┄"), drawn.getLast());
    }

    private List<String> drawn() {
        return Stream.of(bytes.toString(StandardCharsets.UTF_8).split("\r\u001b\\[K", -1)).toList();
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 5, 20, 43, 60, 80, 81, 200})
    void noDrawnLineReachesTheEdge(int width) {
        run(progress(true, width, StandardCharsets.UTF_8), 1000, 200_000_000L);
        for (String line : drawn()) {
            assertTrue(line.strip().length() <= Math.max(width - 1, 10), line);
        }
    }

    @Test
    void redrawsAreLimitedAndTheLastStepIsAlwaysDrawn() {
        run(progress(true, 80, StandardCharsets.US_ASCII), 1000, 1_000_000L);
        List<String> drawn = drawn();
        assertTrue(drawn.size() <= 14, () -> drawn.size() + " draws in one second");
        assertTrue(drawn.getLast().startsWith("1000/1000 ####"), drawn.getLast());
    }

    @Test
    void anEvaluationStandsOnItsOwnLineAboveTheBar() {
        ConsoleProgress progress = progress(true, 80, StandardCharsets.UTF_8);
        progress.started(new RunStart(0, 0, 10, 1, 10, Optional.empty(), 1));
        progress.step(new StepMetrics(1, 0.1, 2.5, 0.75, 2e-4, 1500, 1));
        progress.evaluated(new EvalMetrics(1, 0.1, 1.0, 12345, 2));
        List<String> drawn = drawn();
        assertEquals(
                "step 1  eval_loss 1.0000  perplexity 2.718  (12,345 tokens, 2.0 s)\n",
                drawn.get(2));
        assertTrue(drawn.get(3).startsWith(" 1/10 ━"), drawn.get(3));
    }

    @Test
    void aSkippedStepHasALineOfItsOwnAndLeavesTheShownLoss() {
        ConsoleProgress progress = progress(true, 80, StandardCharsets.UTF_8);
        progress.started(new RunStart(0, 0, 10, 1, 10, Optional.empty(), 1));
        progress.step(new StepMetrics(1, 0.1, 2.5, 0.75, 2e-4, 1500, 1));
        progress.step(new StepMetrics(2, 0.2, Double.NaN, Double.NaN, 2e-4, 1500, 1, true, 1));
        List<String> drawn = drawn();
        assertEquals(
                "step  2/10  skipped: loss NaN, grad_norm NaN; parameters stay as they were"
                        + "  (skipped so far: 1)\n",
                drawn.get(2));
        assertTrue(drawn.get(3).startsWith(" 2/10 ━"), drawn.get(3));
        assertTrue(drawn.get(3).contains("loss 2.5000"), drawn.get(3));
    }

    @ParameterizedTest
    @CsvSource({
        "0,0.0",
        "9.94,9.9",
        "1234,1234",
        "12345,12.3k",
        "999949,999.9k",
        "999951,1.0M",
        "2500000,2.5M"
    })
    void throughputIsCompact(double value, String text) {
        assertEquals(text, ConsoleProgress.compact(value));
    }

    @ParameterizedTest
    @CsvSource({"0,0:00", "59.6,1:00", "3599,59:59", "3600,1:00:00", "90061,25:01:01"})
    void timesAreClocks(double seconds, String text) {
        assertEquals(text, ConsoleProgress.clock(seconds));
    }
}
