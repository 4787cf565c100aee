package jlora.trainer.metrics;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import java.io.IOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/**
 * Writes {@code metrics.jsonl}: one JSON object per logged step ({@code step, epoch, loss,
 * grad_norm, learning_rate, tokens, tokens_per_second, total_tokens, seconds}) and per evaluation
 * ({@code step, epoch, eval_loss, eval_perplexity, eval_tokens, eval_seconds}). From the first
 * skipped step on there is {@code skipped_steps}, the number of them so far, and {@code skipped:
 * true} where all steps of a line were skipped. Each line goes out whole and at once, so a reader
 * may follow the file and a killed run keeps what it logged. Give it the thinned steps of {@link
 * LoggedSteps}.
 */
public final class MetricsWriter implements StepListener, AutoCloseable {
    private final Path file;
    private final Writer out;
    private long totalTokens;

    private MetricsWriter(Path file, Writer out) {
        this.file = file;
        this.out = out;
    }

    /**
     * Starts the file anew; what an earlier run wrote there is gone, which is for the caller to
     * allow.
     */
    public static MetricsWriter create(Path file) {
        return open(file, StandardOpenOption.TRUNCATE_EXISTING);
    }

    /** Goes on with the file of a run that is resumed. */
    public static MetricsWriter append(Path file) {
        return open(file, StandardOpenOption.APPEND);
    }

    private static MetricsWriter open(Path file, StandardOpenOption how) {
        try {
            return new MetricsWriter(
                    file,
                    Files.newBufferedWriter(
                            file,
                            StandardCharsets.UTF_8,
                            StandardOpenOption.CREATE,
                            StandardOpenOption.WRITE,
                            how));
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    @Override
    public void started(RunStart start) {
        totalTokens = start.doneTokens();
    }

    @Override
    public void step(StepMetrics m) {
        totalTokens += m.tokens();
        JsonLine json =
                new JsonLine()
                        .put("step", m.step())
                        .put("epoch", m.epoch())
                        .put("loss", m.loss())
                        .put("grad_norm", m.gradNorm())
                        .put("learning_rate", m.learningRate())
                        .put("tokens", m.tokens())
                        .put("tokens_per_second", m.tokensPerSecond())
                        .put("total_tokens", totalTokens)
                        .put("seconds", m.seconds());
        if (m.skipped()) {
            json.put("skipped", true);
        }
        if (m.skippedSteps() > 0) {
            json.put("skipped_steps", m.skippedSteps());
        }
        line(json);
    }

    @Override
    public void evaluated(EvalMetrics m) {
        line(
                new JsonLine()
                        .put("step", m.step())
                        .put("epoch", m.epoch())
                        .put("eval_loss", m.loss())
                        .put("eval_perplexity", m.perplexity())
                        .put("eval_tokens", m.tokens())
                        .put("eval_seconds", m.seconds()));
    }

    /** Bytes of the lines so far. */
    public long bytes() {
        try {
            return Files.size(file);
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    @Override
    public void finished() {
        close();
    }

    private void line(JsonLine json) {
        try {
            out.write(json.end() + "\n");
            out.flush();
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    @Override
    public void close() {
        try {
            out.close();
        } catch (IOException e) {
            throw failure(file, e);
        }
    }

    private static JloraException failure(Path file, IOException e) {
        return new JloraException(
                ExitCode.CHECKPOINT_IO,
                file
                        + ": metrics cannot be written ("
                        + e.getClass().getSimpleName()
                        + ": "
                        + e.getMessage()
                        + "); free space or choose another output_dir",
                e);
    }
}
