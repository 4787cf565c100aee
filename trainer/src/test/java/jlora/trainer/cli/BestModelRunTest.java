package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;

import jlora.runtime.io.Json;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Runs whose evaluations become worse: the learning rate is far too large. */
class BestModelRunTest {
    private static final Object[] WORSE = {"--learning_rate", 0.5, "--eval_steps", 1};

    @TempDir Path folder;
    private RunFolder run;

    @BeforeEach
    void create() throws IOException {
        run = RunFolder.create(folder);
    }

    private String train(Object... more) {
        Object[] words = new Object[WORSE.length + more.length];
        System.arraycopy(WORSE, 0, words, 0, WORSE.length);
        System.arraycopy(more, 0, words, WORSE.length, more.length);
        return run.succeeds("train", words);
    }

    /** The step whose evaluation has the smallest loss. */
    private long best() throws IOException {
        long step = 0;
        double least = Double.POSITIVE_INFINITY;
        for (String line : Files.readAllLines(run.out().resolve("metrics.jsonl"))) {
            JsonNode json = Json.parseObject("metrics", 1, line.getBytes(StandardCharsets.UTF_8));
            if (json.has("eval_loss") && json.get("eval_loss").doubleValue() < least) {
                least = json.get("eval_loss").doubleValue();
                step = json.get("step").longValue();
            }
        }
        return step;
    }

    private byte[] adapter(String from) throws IOException {
        return Files.readAllBytes(run.out().resolve(from).resolve("adapter_model.safetensors"));
    }

    @Test
    void bestEvaluationIsWrittenThoughNoSaveWasDueAtIt() throws IOException {
        String said =
                train("--max_steps", 12, "--save_steps", 12, "--load_best_model_at_end", true);
        long best = best();
        assertNotEquals(0, best % 12, "the best must not be at a save that is due anyway");
        assertTrue(said.contains("the best evaluation was after step " + best), said);
        assertArrayEquals(adapter("checkpoint-" + best), adapter(""));
        JsonNode state = Json.readObject(run.out().resolve("trainer_state.json"));
        assertTrue(
                state.get("best_model_checkpoint").textValue().endsWith("checkpoint-" + best),
                state.toString());
    }

    @Test
    void limitOfCheckpointsSparesTheBest() throws IOException {
        train(
                "--max_steps", 12,
                "--save_steps", 1,
                "--save_total_limit", 1,
                "--load_best_model_at_end", true);
        assertArrayEquals(adapter("checkpoint-" + best()), adapter(""));
    }

    @Test
    void patienceEndsTheRun() throws IOException {
        String said = train("--max_steps", 200, "--early_stopping_patience", 3);
        assertTrue(said.contains("ended early"), said);
        JsonNode state = Json.readObject(run.out().resolve("trainer_state.json"));
        assertEquals(best() + 3, state.get("global_step").longValue());
    }
}
