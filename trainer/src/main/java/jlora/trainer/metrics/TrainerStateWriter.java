package jlora.trainer.metrics;

import jlora.runtime.io.AtomicFile;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Keeps what Transformers' TrainerState holds and writes it as {@code trainer_state.json}, whole or
 * not at all. Only fields that Transformers knows are written, so that its loader takes the file.
 * Give it the thinned steps of {@link LoggedSteps}; it writes when the run is finished and whenever
 * a checkpoint asks.
 */
public final class TrainerStateWriter implements StepListener {
    private final Path file;
    private final List<String> logHistory = new ArrayList<>();
    private RunStart start;
    private long step;
    private double epoch;
    private long tokens;
    private double bestLoss = Double.NaN;
    private Optional<Path> bestCheckpoint = Optional.empty();

    public TrainerStateWriter(Path file) {
        this.file = file;
    }

    @Override
    public void started(RunStart start) {
        this.start = start;
        step = start.doneSteps();
        tokens = start.doneTokens();
    }

    @Override
    public void step(StepMetrics m) {
        step = m.step();
        epoch = m.epoch();
        tokens += m.tokens();
        logHistory.add(
                new JsonLine()
                        .put("epoch", m.epoch())
                        .put("grad_norm", m.gradNorm())
                        .put("learning_rate", m.learningRate())
                        .put("loss", m.loss())
                        .put("step", m.step())
                        .end());
    }

    @Override
    public void evaluated(EvalMetrics m) {
        if (!(m.loss() >= bestLoss)) {
            bestLoss = Double.isNaN(m.loss()) ? bestLoss : m.loss();
        }
        logHistory.add(
                new JsonLine()
                        .put("epoch", m.epoch())
                        .put("eval_loss", m.loss())
                        .put("eval_runtime", m.seconds())
                        .put("step", m.step())
                        .end());
    }

    @Override
    public void finished() {
        AtomicFile.write(file, bytes());
    }

    /** Names the checkpoint of the best evaluation so far. */
    public void bestCheckpoint(Path checkpoint) {
        bestCheckpoint = Optional.of(checkpoint);
    }

    /** The state as of now. */
    public byte[] bytes() {
        if (start == null) {
            throw new IllegalStateException("the run has not started");
        }
        return json().getBytes(StandardCharsets.UTF_8);
    }

    private String json() {
        JsonLine state = new JsonLine();
        if (Double.isNaN(bestLoss)) {
            state.putNull("best_metric");
        } else {
            state.put("best_metric", bestLoss);
        }
        bestCheckpoint.ifPresentOrElse(
                path -> state.put("best_model_checkpoint", path.toString()),
                () -> state.putNull("best_model_checkpoint"));
        state.put("epoch", epoch);
        start.evalSteps()
                .ifPresentOrElse(
                        n -> state.put("eval_steps", n), () -> state.putNull("eval_steps"));
        return state.put("global_step", step)
                        .put("is_hyper_param_search", false)
                        .put("is_local_process_zero", true)
                        .put("is_world_process_zero", true)
                        .putObjects("log_history", logHistory)
                        .put("logging_steps", start.loggingSteps())
                        .put("max_steps", start.totalSteps())
                        .put("num_input_tokens_seen", tokens)
                        // A whole number of passes, rounded up, as Transformers keeps it.
                        .put("num_train_epochs", (long) Math.ceil(start.epochs()))
                        .put("train_batch_size", start.batchSize())
                        .end()
                + "\n";
    }
}
