package jlora.trainer.checkpoint;

import jlora.runtime.io.AtomicFile;
import jlora.runtime.io.Json;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Consumer;
import java.util.function.Supplier;

/**
 * Everything that goes into a checkpoint. What changes as training goes on is copied already, so
 * that another thread may write it.
 *
 * @param state made when it is written: fingerprints of large data take a while
 * @param config the resolved configuration
 * @param trainerState trainer_state.json
 * @param metrics the file that the run logs to, which only grows
 * @param metricsBytes how much of it belongs to this state
 * @param copy parameters and moments
 * @param model writes what was trained in the form that others load: the PEFT files
 */
public record CheckpointContents(
        Supplier<CheckpointState> state,
        String config,
        byte[] trainerState,
        Path metrics,
        long metricsBytes,
        ParameterCopy copy,
        Consumer<Path> model) {
    static final String CONFIG = "config.yaml";
    static final String METRICS = "metrics.jsonl";
    private static final String TRAINER_STATE = "trainer_state.json";

    /** Writes all files into a folder; failing to is exit code 8. */
    public void write(Path folder) {
        model.accept(folder);
        TensorFiles.write(folder, copy);
        AtomicFile.write(folder.resolve(CONFIG), config.getBytes(StandardCharsets.UTF_8));
        AtomicFile.write(folder.resolve(TRAINER_STATE), trainerState);
        AtomicFile.write(folder.resolve(METRICS), logged());
        state.get().write(folder);
    }

    private byte[] logged() {
        try (InputStream in = Files.newInputStream(metrics)) {
            return in.readNBytes(Math.toIntExact(metricsBytes));
        } catch (IOException e) {
            throw new UncheckedIOException(
                    metrics + " cannot be read back (" + Json.reason(e) + ")", e);
        }
    }
}
