package jlora.trainer.metrics.tensorboard;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.MetricsReport;
import jlora.trainer.metrics.RunStart;
import jlora.trainer.metrics.StepMetrics;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.InstantSource;

/**
 * Writes event files for TensorBoard into {@code runs/jlora} of the output folder: scalars by the
 * tags of Transformers' callback, {@code train/loss}, {@code eval/loss} and so on. A resumed run
 * begins a new file, whose first event makes TensorBoard forget the steps that are done again.
 */
public final class TensorBoardReport implements MetricsReport {
    /** {@code Event} of tensorflow/core/util/event.proto. */
    private static final class EventField {
        static final int WALL_TIME = 1;
        static final int STEP = 2;
        static final int FILE_VERSION = 3;
        static final int SUMMARY = 5;
        static final int SESSION_LOG = 7;
    }

    /** {@code Summary} and {@code Summary.Value} of tensorflow/core/framework/summary.proto. */
    private static final class SummaryField {
        static final int VALUE = 1;
        static final int TAG = 1;
        static final int SIMPLE_VALUE = 2;
    }

    /** {@code SessionLog} of event.proto. */
    private static final class SessionLog {
        static final int STATUS = 1;
        static final int START = 1;
    }

    private final EventFile file;
    private final InstantSource clock;

    TensorBoardReport(EventFile file, InstantSource clock) {
        this.file = file;
        this.clock = clock;
        write(event().text(EventField.FILE_VERSION, "brain.Event:2"));
    }

    /**
     * Begins a file.
     *
     * @param outputDir the run's output_dir
     */
    public static TensorBoardReport create(Path outputDir) {
        InstantSource clock = InstantSource.system();
        Path folder = folder(outputDir);
        try {
            return new TensorBoardReport(
                    EventFile.create(folder, clock.instant().getEpochSecond()), clock);
        } catch (IOException e) {
            throw failure(folder, e);
        }
    }

    /** Always the same, so that the runs before and after a resume are one to TensorBoard. */
    static Path folder(Path outputDir) {
        return outputDir.resolve("runs").resolve("jlora");
    }

    /** Removes what an earlier run wrote into an output folder, and nothing else. */
    public static void delete(Path outputDir) throws IOException {
        for (Path events : EventFile.list(folder(outputDir))) {
            Files.delete(events);
        }
    }

    @Override
    public void started(RunStart start) {
        if (start.doneSteps() > 0) {
            ProtoMessage began = new ProtoMessage().integer(SessionLog.STATUS, SessionLog.START);
            write(
                    event().integer(EventField.STEP, start.doneSteps() + 1)
                            .message(EventField.SESSION_LOG, began));
        }
    }

    @Override
    public void step(StepMetrics m) {
        ProtoMessage summary = new ProtoMessage();
        scalar(summary, "train/loss", m.loss());
        scalar(summary, "train/grad_norm", m.gradNorm());
        scalar(summary, "train/learning_rate", m.learningRate());
        scalar(summary, "train/epoch", m.epoch());
        scalar(summary, "train/tokens_per_second", m.tokensPerSecond());
        write(m.step(), summary);
    }

    @Override
    public void evaluated(EvalMetrics m) {
        ProtoMessage summary = new ProtoMessage();
        scalar(summary, "eval/loss", m.loss());
        scalar(summary, "eval/perplexity", m.perplexity());
        scalar(summary, "eval/runtime", m.seconds());
        write(m.step(), summary);
    }

    @Override
    public void finished() {}

    private static void scalar(ProtoMessage summary, String tag, double value) {
        summary.message(
                SummaryField.VALUE,
                new ProtoMessage()
                        .text(SummaryField.TAG, tag)
                        .float32(SummaryField.SIMPLE_VALUE, (float) value));
    }

    private void write(long step, ProtoMessage summary) {
        write(event().integer(EventField.STEP, step).message(EventField.SUMMARY, summary));
    }

    private ProtoMessage event() {
        Instant now = clock.instant();
        double seconds = now.getEpochSecond() + now.getNano() / 1e9;
        return new ProtoMessage().float64(EventField.WALL_TIME, seconds);
    }

    private void write(ProtoMessage event) {
        try {
            file.write(event.toBytes());
        } catch (IOException e) {
            throw failure(file.path(), e);
        }
    }

    @Override
    public void close() {
        try {
            file.close();
        } catch (IOException e) {
            throw failure(file.path(), e);
        }
    }

    private static JloraException failure(Path path, IOException e) {
        return new JloraException(
                ExitCode.CHECKPOINT_IO,
                path
                        + ": events for TensorBoard cannot be written ("
                        + e.getClass().getSimpleName()
                        + ": "
                        + e.getMessage()
                        + "); free space or choose another output_dir",
                e);
    }
}
