package jlora.trainer.loop;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.StopRequest;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.data.DataPosition;
import jlora.trainer.data.StepBatches;
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.RunPhase;
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

    /** Why the loop ended. */
    public enum End {
        /** All steps are done. */
        DONE,
        /** Evaluations have not become better for long enough. */
        EARLY,
        /** The end was asked for, and the state is saved. */
        SAVED,
        /** The end was asked for, and the run keeps no checkpoints. */
        UNSAVED
    }

    /**
     * What surrounds a loop.
     *
     * @param start where a resumed run goes on
     * @param best judges evaluations
     * @param stop asks for the end; the loop ends after the step that is running
     */
    public record Surroundings(
            Progress start,
            BestModel best,
            StopRequest stop,
            Checkpointer checkpoints,
            Watchdog watchdog) {
        /** A run from its beginning to its end. */
        public static Surroundings none() {
            return new Surroundings(
                    Progress.START,
                    new BestModel(false, OptionalInt.empty(), 0, BestModel.State.NONE),
                    new StopRequest(),
                    Checkpointer.NONE,
                    Watchdog.NONE);
        }
    }

    private final TrainEngine engine;
    private final BatchSchedule data;
    private final Optional<Evaluator> evaluator;
    private final Settings settings;
    private final NonfinitePolicy nonfinite;
    private final StepListener listener;
    private final Surroundings around;
    private long collectedAt = Long.MIN_VALUE;
    private long tokens;
    private long stopAfter = Long.MAX_VALUE;

    public TrainLoop(
            TrainEngine engine,
            BatchSchedule data,
            Optional<Evaluator> evaluator,
            Settings settings,
            NonfinitePolicy nonfinite,
            StepListener listener,
            Surroundings around) {
        this.engine = engine;
        this.data = data;
        this.evaluator = evaluator;
        this.settings = settings;
        this.nonfinite = nonfinite;
        this.listener = listener;
        this.around = around;
        this.tokens = around.start.tokens();
    }

    /** Steps of a run that ends after so many passes over the data, as Transformers counts them. */
    public static long steps(double epochs, BatchSchedule data) {
        return (long) Math.ceil(epochs * data.stepsPerEpoch());
    }

    /** Takes the steps that are left. */
    public End run() {
        listener.started(
                new RunStart(
                        around.start.step(),
                        around.start.tokens(),
                        settings.totalSteps,
                        (double) settings.totalSteps / data.stepsPerEpoch(),
                        settings.loggingSteps,
                        settings.evalSteps.isPresent()
                                ? Optional.of(settings.evalSteps.getAsInt())
                                : Optional.empty(),
                        settings.batchSize));
        try {
            return steps();
        } finally {
            around.watchdog.rest();
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
    private End steps() {
        Progress at = around.start;
        engine.resumeAt(at.microBatches());
        nonfinite.restore(at.nonfinite());
        if (at.evaluationDue()) {
            at = evaluate(at, false);
        }
        Optional<Launched> running = Optional.empty();
        while (at.step() < settings.totalSteps && !around.best.exhausted()) {
            if (stopping(at)) {
                running.ifPresent(this::collect);
                return stop(at);
            }
            long number = at.step() + 1;
            StepBatches batches = data.step(at.next());
            boolean epochEnds = batches.next().epoch() > at.next().epoch();
            Launched launched = launch(batches, number);
            running.ifPresent(this::collect);
            running = Optional.of(launched);
            at = after(launched, batches);
            boolean last = number == settings.totalSteps;
            boolean evaluation = evaluationAfter(number, last || epochEnds);
            boolean due = around.checkpoints.due(number, epochEnds);
            if (last || evaluation || due || !engine.asynchronous()) {
                collect(launched);
                running = Optional.empty();
            }
            if (evaluation) {
                at = evaluate(at, due);
            } else if (due) {
                around.checkpoints.save(judged(at), false);
            }
        }
        return at.evaluationDue()
                ? stop(at)
                : at.step() < settings.totalSteps ? End.EARLY : End.DONE;
    }

    /**
     * Workers end after the same step, the first whose results say that one of them was asked to:
     * or the one after it on a device that has then begun that, on whichever worker happens to know
     * the results already.
     */
    private boolean stopping(Progress at) {
        return engine.shares() ? at.step() >= stopAfter : around.stop.asked();
    }

    private End stop(Progress at) {
        around.watchdog.rest();
        return around.checkpoints.stop(judged(at)) ? End.SAVED : End.UNSAVED;
    }

    /** With all that is known once the step's results are collected. */
    private Progress judged(Progress at) {
        return at.judged(around.best.state(), nonfinite.counts());
    }

    private Progress after(Launched launched, StepBatches batches) {
        return new Progress(
                launched.done,
                batches.next(),
                launched.epoch,
                tokens,
                engine.microBatches(),
                false,
                around.best.state(),
                nonfinite.counts());
    }

    private Launched launch(StepBatches batches, long number) {
        long start = System.nanoTime();
        around.watchdog.beat("step " + number);
        tokens += batches.tokens();
        double rate =
                settings.learningRate
                        * settings.schedule.factor(
                                number - 1, settings.warmup, settings.totalSteps);
        DataPosition next = batches.next();
        return new Launched(
                guarded(number, () -> engine.start(batches, rate)),
                number,
                next.epoch() + (double) next.batch() / data.batchesPerEpoch(),
                rate,
                batches.tokens(),
                start);
    }

    private void collect(Launched launched) {
        TrainEngine.StepResult result = guarded(launched.done, launched.step::get);
        boolean skipped = nonfinite.skips(launched.done, result);
        if (result.stop()) {
            stopAfter = Math.min(stopAfter, launched.done + (engine.asynchronous() ? 1 : 0));
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
                        seconds,
                        skipped,
                        nonfinite.counts().skipped()));
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

    /**
     * Evaluates after a step, and saves where that is due or the result asks for it.
     *
     * @return how far the run is then; an evaluation that was cut short is still due
     */
    private Progress evaluate(Progress at, boolean due) {
        long start = System.nanoTime();
        listener.phase(RunPhase.EVALUATING);
        Optional<Evaluator.Result> result =
                guarded(
                        at.step(),
                        () ->
                                evaluator
                                        .orElseThrow()
                                        .run(around.stop::asked, around.watchdog::beat));
        if (result.isEmpty()) {
            stopAfter = at.step();
            return at.evaluated(true);
        }
        listener.evaluated(
                new EvalMetrics(
                        at.step(),
                        at.epoch(),
                        result.get().loss(),
                        result.get().tokens(),
                        (System.nanoTime() - start) / 1e9));
        listener.phase(RunPhase.TRAINING);
        boolean best = around.best.accept(at.step(), result.get());
        Progress done = at.evaluated(false);
        if (due || best && around.checkpoints.wantsBest()) {
            around.checkpoints.save(judged(done), best);
        }
        return done;
    }
}
