package jlora.trainer.loop;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.data.DataPosition;
import jlora.trainer.data.StepBatches;
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.RunStart;
import jlora.trainer.metrics.StepListener;
import jlora.trainer.metrics.StepMetrics;
import jlora.trainer.optim.schedule.Schedule;

import java.util.Optional;
import java.util.OptionalInt;

/**
 * The one training loop: steps in order, the learning rate of each, evaluations, and word of it all
 * to a listener.
 */
public final class TrainLoop {
    /**
     * @param totalSteps optimizer steps of the run
     * @param warmup steps of the warmup
     * @param loggingSteps for the listener
     * @param evalSteps evaluate after every so many steps
     * @param evalEachEpoch evaluate after the last step of each epoch
     */
    public record Settings(
            long totalSteps,
            double learningRate,
            Schedule schedule,
            long warmup,
            int loggingSteps,
            OptionalInt evalSteps,
            boolean evalEachEpoch,
            int batchSize) {}

    private final TrainEngine engine;
    private final BatchSchedule data;
    private final Optional<Evaluator> evaluator;
    private final Settings settings;
    private final StepListener listener;
    private long evaluatedAt = -1;

    public TrainLoop(
            TrainEngine engine,
            BatchSchedule data,
            Optional<Evaluator> evaluator,
            Settings settings,
            StepListener listener) {
        this.engine = engine;
        this.data = data;
        this.evaluator = evaluator;
        this.settings = settings;
        this.listener = listener;
    }

    /** Steps of a run that ends after so many passes over the data, as Transformers counts them. */
    public static long steps(double epochs, BatchSchedule data) {
        return (long) Math.ceil(epochs * data.stepsPerEpoch());
    }

    public void run() {
        listener.started(
                new RunStart(
                        0,
                        0,
                        settings.totalSteps,
                        (double) settings.totalSteps / data.stepsPerEpoch(),
                        settings.loggingSteps,
                        settings.evalSteps.isPresent()
                                ? Optional.of(settings.evalSteps.getAsInt())
                                : Optional.empty(),
                        settings.batchSize));
        try {
            DataPosition position = DataPosition.START;
            for (long done = 0; done < settings.totalSteps; done++) {
                position = step(done, position);
            }
        } finally {
            listener.finished();
        }
    }

    private DataPosition step(long done, DataPosition position) {
        long start = System.nanoTime();
        StepBatches batches = data.step(position);
        double rate =
                settings.learningRate
                        * settings.schedule.factor(done, settings.warmup, settings.totalSteps);
        TrainEngine.StepResult result = engine.step(batches, done + 1, rate);
        DataPosition next = batches.next();
        double epoch = next.epoch() + (double) next.batch() / data.batchesPerEpoch();
        if (!Double.isFinite(result.loss()) || !Double.isFinite(result.gradNorm())) {
            throw new JloraException(
                    ExitCode.NUMERICS,
                    "Step "
                            + (done + 1)
                            + ": the loss is "
                            + result.loss()
                            + " and the gradient norm "
                            + result.gradNorm()
                            + "; lower learning_rate, or look for broken rows in the data.");
        }
        listener.step(
                new StepMetrics(
                        done + 1,
                        epoch,
                        result.loss(),
                        result.gradNorm(),
                        rate,
                        batches.tokens(),
                        (System.nanoTime() - start) / 1e9));
        boolean last = done + 1 == settings.totalSteps;
        boolean byStep =
                settings.evalSteps.isPresent() && (done + 1) % settings.evalSteps.getAsInt() == 0;
        boolean byEpoch = settings.evalEachEpoch && (last || next.epoch() > position.epoch());
        if (byStep || byEpoch) {
            evaluate(done + 1, epoch);
        }
        return next;
    }

    private void evaluate(long step, double epoch) {
        if (evaluator.isEmpty() || evaluatedAt == step) {
            return;
        }
        evaluatedAt = step;
        long start = System.nanoTime();
        Evaluator.Result result = evaluator.get().run();
        listener.evaluated(
                new EvalMetrics(
                        step,
                        epoch,
                        result.loss(),
                        result.tokens(),
                        (System.nanoTime() - start) / 1e9));
    }
}
