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
import java.util.function.Supplier;

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
    private long collectedAt = Long.MIN_VALUE;

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
            steps();
        } finally {
            listener.finished();
        }
    }

    /**
     * @param done the step's number, from 1
     * @param epoch passes over the data when it is done
     * @param start when it was launched, by {@link System#nanoTime}
     */
    private record Launched(
            PendingStep step, long done, double epoch, double rate, long tokens, long start) {}

    /**
     * A GPU works on a step while Java prepares and launches the next one, and only then asks for
     * the results of the first: no step waits for Java.
     */
    private void steps() {
        DataPosition position = DataPosition.START;
        Optional<Launched> running = Optional.empty();
        for (long done = 1; done <= settings.totalSteps; done++) {
            StepBatches batches = data.step(position);
            DataPosition next = batches.next();
            Launched launched = launch(batches, done);
            running.ifPresent(this::collect);
            running = Optional.of(launched);
            boolean last = done == settings.totalSteps;
            boolean evaluation = evaluationAfter(done, last || next.epoch() > position.epoch());
            if (last || evaluation || !engine.asynchronous()) {
                collect(launched);
                running = Optional.empty();
            }
            if (evaluation) {
                evaluate(done, launched.epoch);
            }
            position = next;
        }
    }

    private Launched launch(StepBatches batches, long number) {
        long start = System.nanoTime();
        double rate =
                settings.learningRate
                        * settings.schedule.factor(
                                number - 1, settings.warmup, settings.totalSteps);
        DataPosition next = batches.next();
        return new Launched(
                guarded(number, () -> engine.start(batches, number, rate)),
                number,
                next.epoch() + (double) next.batch() / data.batchesPerEpoch(),
                rate,
                batches.tokens(),
                start);
    }

    private void collect(Launched launched) {
        TrainEngine.StepResult result = guarded(launched.done, launched.step::get);
        if (!Double.isFinite(result.loss()) || !Double.isFinite(result.gradNorm())) {
            throw new JloraException(
                    ExitCode.NUMERICS,
                    "Step "
                            + launched.done
                            + ": the loss is "
                            + result.loss()
                            + " and the gradient norm "
                            + result.gradNorm()
                            + "; lower learning_rate, or look for broken rows in the data.");
        }
        long now = System.nanoTime();
        double seconds = (now - Math.max(launched.start, collectedAt)) / 1e9;
        collectedAt = now;
        listener.step(
                new StepMetrics(
                        launched.done,
                        launched.epoch,
                        result.loss(),
                        result.gradNorm(),
                        launched.rate,
                        launched.tokens,
                        seconds));
    }

    /** Says at which step a device failed. */
    private static <T> T guarded(long step, Supplier<T> work) {
        try {
            return work.get();
        } catch (JloraException e) {
            if (e.exitCode() != ExitCode.GPU_FAULT) {
                throw e;
            }
            throw new JloraException(e.exitCode(), "Step " + step + ": " + e.getMessage(), e);
        }
    }

    private boolean evaluationAfter(long step, boolean epochEnds) {
        boolean byStep =
                settings.evalSteps.isPresent() && step % settings.evalSteps.getAsInt() == 0;
        return evaluator.isPresent() && (byStep || settings.evalEachEpoch && epochEnds);
    }

    private void evaluate(long step, double epoch) {
        long start = System.nanoTime();
        Evaluator.Result result = guarded(step, evaluator.orElseThrow()::run);
        listener.evaluated(
                new EvalMetrics(
                        step,
                        epoch,
                        result.loss(),
                        result.tokens(),
                        (System.nanoTime() - start) / 1e9));
    }
}
