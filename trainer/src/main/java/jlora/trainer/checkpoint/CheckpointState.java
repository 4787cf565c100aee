package jlora.trainer.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.JloraException;
import jlora.runtime.io.AtomicFile;
import jlora.runtime.io.Json;
import jlora.trainer.data.DataPosition;
import jlora.trainer.loop.BestModel;
import jlora.trainer.loop.NonfinitePolicy;
import jlora.trainer.loop.Progress;
import jlora.trainer.metrics.LoggedSteps;
import jlora.trainer.metrics.MetricsReader;
import jlora.trainer.metrics.StepMetrics;

import java.nio.file.Path;
import java.util.Optional;

/**
 * {@code state.json} of a checkpoint: where the run is, beside what is in its tensors. Everything
 * random is drawn from seeds, which are part of the configuration, and counters, which are here.
 *
 * @param log what is not logged yet
 */
public record CheckpointState(Progress progress, LoggedSteps.State log, RunIdentity identity) {
    static final String NAME = "state.json";

    /** Changes when a checkpoint of an earlier jlora can no longer be gone on from. */
    private static final int FORMAT = 1;

    void write(Path folder) {
        ObjectNode json = Json.object();
        json.put("format", FORMAT);
        json.put("step", progress.step());
        json.putObject("next")
                .put("epoch", progress.next().epoch())
                .put("batch", progress.next().batch());
        json.put("epoch", progress.epoch());
        json.put("tokens", progress.tokens());
        json.put("micro_batches", progress.microBatches());
        json.put("evaluation_due", progress.evaluationDue());
        ObjectNode best = json.putObject("best");
        best.put("step", progress.best().step());
        if (progress.best().known()) {
            best.put("value", progress.best().value());
        }
        best.put("worse", progress.best().worse());
        json.putObject("nonfinite")
                .put("skipped", progress.nonfinite().skipped())
                .put("in_a_row", progress.nonfinite().inARow());
        writeLog(json.putObject("log"));
        identity.write(json.putObject("run"));
        AtomicFile.write(folder.resolve(NAME), Json.pretty(json));
    }

    private void writeLog(ObjectNode json) {
        json.put("loss_sum", log.lossSum())
                .put("steps", log.steps())
                .put("applied", log.applied())
                .put("grad_norm", log.gradNorm())
                .put("tokens", log.tokens())
                .put("seconds", log.seconds());
        log.last().ifPresent(last -> writeStep(json.putObject("last"), last));
    }

    private static void writeStep(ObjectNode json, StepMetrics last) {
        json.put("step", last.step())
                .put("epoch", last.epoch())
                .put("learning_rate", last.learningRate())
                .put("tokens", last.tokens())
                .put("seconds", last.seconds())
                .put("skipped", last.skipped())
                .put("skipped_steps", last.skippedSteps());
        putFinite(json, "loss", last.loss());
        putFinite(json, "grad_norm", last.gradNorm());
    }

    /** JSON has no other numbers; what is missing is read back as one that is not finite. */
    private static void putFinite(ObjectNode json, String name, double value) {
        if (Double.isFinite(value)) {
            json.put(name, value);
        }
    }

    private static LoggedSteps.State readLog(JsonNode json) {
        return new LoggedSteps.State(
                json.path("loss_sum").doubleValue(),
                json.path("steps").intValue(),
                json.path("applied").intValue(),
                json.path("grad_norm").doubleValue(),
                json.path("tokens").longValue(),
                json.path("seconds").doubleValue(),
                Optional.of(json.path("last")).filter(JsonNode::isObject).map(MetricsReader::step));
    }

    /**
     * Reads the state of a checkpoint; whether it is whole is for {@link CheckpointFolder#verify}.
     */
    public static CheckpointState read(Path folder) {
        Path file = folder.resolve(NAME);
        ObjectNode json = Json.readObject(file);
        int format = json.path("format").intValue();
        if (format != FORMAT) {
            throw JloraException.usage(
                    folder
                            + ": is a checkpoint of format "
                            + format
                            + ", and this jlora reads format "
                            + FORMAT
                            + "; go on with the jlora that wrote it, or start anew");
        }
        try {
            return of(json);
        } catch (IllegalArgumentException e) {
            throw JloraException.corrupt(
                    file + ": is not a state that jlora wrote (" + e.getMessage() + ")");
        }
    }

    private static CheckpointState of(ObjectNode json) {
        JsonNode next = json.path("next");
        JsonNode best = json.path("best");
        JsonNode nonfinite = json.path("nonfinite");
        return new CheckpointState(
                new Progress(
                        json.path("step").longValue(),
                        new DataPosition(
                                next.path("epoch").intValue(), next.path("batch").intValue()),
                        json.path("epoch").doubleValue(),
                        json.path("tokens").longValue(),
                        json.path("micro_batches").longValue(),
                        json.path("evaluation_due").booleanValue(),
                        new BestModel.State(
                                best.path("step").longValue(),
                                best.has("value") ? best.path("value").doubleValue() : Double.NaN,
                                best.path("worse").intValue()),
                        new NonfinitePolicy.Counts(
                                nonfinite.path("skipped").longValue(),
                                nonfinite.path("in_a_row").longValue())),
                readLog(json.path("log")),
                RunIdentity.read(json.path("run")));
    }
}
