package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.trainer.config.RunConfig;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** {@link NonfiniteSteps} on the CPU, and what a run that skips writes. */
final class CpuNonfiniteStepsTest extends NonfiniteSteps {
    @Override
    Backend backend() {
        return new CpuBackend(new CpuOptions(2, ProductLibrary.AUTO));
    }

    @Test
    void filesOfARunThatSkipsAreWholeAndTellIt() throws IOException {
        Path output = folder.resolve("run");
        RunConfig config =
                config(
                        8,
                        3,
                        "dtype=float32",
                        "device=cpu",
                        "max_steps=8",
                        "logging_steps=1",
                        "on_nonfinite=skip",
                        "output_dir=" + output);
        new TrainRun(config, new PrintWriter(new StringWriter()))
                .before((backend, model) -> breakToken(backend, model, Float.NaN))
                .run();
        ObjectMapper json = new ObjectMapper();
        List<JsonNode> skipped = new ArrayList<>();
        JsonNode last = null;
        for (String line : Files.readAllLines(output.resolve("metrics.jsonl"))) {
            last = json.readTree(line);
            if (last.has("skipped")) {
                assertTrue(last.get("skipped").booleanValue());
                assertTrue(last.get("loss").isNull());
                skipped.add(last);
                assertEquals(skipped.size(), last.get("skipped_steps").intValue());
            } else {
                assertTrue(last.get("loss").isNumber());
                assertEquals(!skipped.isEmpty(), last.has("skipped_steps"));
            }
        }
        assertEquals(3, skipped.size());
        assertEquals(8, last.get("step").intValue());
        assertEquals(
                8,
                json.readTree(output.resolve("trainer_state.json").toFile())
                        .get("global_step")
                        .intValue());
        assertTrue(Files.readString(output.resolve("report.html")).contains("skipped steps"));
        assertFalse(Files.readString(output.resolve("metrics.jsonl")).contains("NaN"));
    }
}
