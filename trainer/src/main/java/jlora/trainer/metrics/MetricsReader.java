package jlora.trainer.metrics;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.JloraException;
import jlora.runtime.io.Json;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Reads {@code metrics.jsonl} back: what {@link MetricsWriter} was told, told again. */
public final class MetricsReader {
    private MetricsReader() {}

    /** Tells a listener of every logged step and evaluation; a bad line is exit code 3. */
    public static void replay(Path file, StepListener to) {
        try (BufferedReader lines = Files.newBufferedReader(file, StandardCharsets.UTF_8)) {
            int number = 0;
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                number++;
                ObjectNode json =
                        Json.parseObject(
                                file.toString(), number, line.getBytes(StandardCharsets.UTF_8));
                if (json.has("eval_loss")) {
                    to.evaluated(evaluation(json));
                } else {
                    to.step(step(json));
                }
            }
        } catch (IOException e) {
            throw JloraException.corrupt(
                    file + ": cannot be read (" + Json.reason(e) + "); check its permissions");
        }
    }

    /**
     * The last step that a file has a line of, though its end may be torn; 0 where there is none.
     */
    public static long lastStep(Path file) {
        long last = 0;
        try (BufferedReader lines = Files.newBufferedReader(file, StandardCharsets.UTF_8)) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                ObjectNode json = Json.parseObject("", 1, line.getBytes(StandardCharsets.UTF_8));
                last = Math.max(last, json.path("step").longValue());
            }
        } catch (IOException | JloraException _) {
            return last; // there is no such file, or this was its last whole line
        }
        return last;
    }

    /** A step as a line of {@code metrics.jsonl} has it. */
    public static StepMetrics step(JsonNode json) {
        return new StepMetrics(
                json.path("step").longValue(),
                number(json.path("epoch")),
                number(json.path("loss")),
                number(json.path("grad_norm")),
                number(json.path("learning_rate")),
                json.path("tokens").longValue(),
                number(json.path("seconds")),
                json.path("skipped").booleanValue(),
                json.path("skipped_steps").longValue());
    }

    private static EvalMetrics evaluation(ObjectNode json) {
        return new EvalMetrics(
                json.path("step").longValue(),
                number(json.path("epoch")),
                number(json.path("eval_loss")),
                json.path("eval_tokens").longValue(),
                number(json.path("eval_seconds")));
    }

    /** What is not finite was written as null. */
    private static double number(JsonNode value) {
        return value.isNumber() ? value.doubleValue() : Double.NaN;
    }
}
