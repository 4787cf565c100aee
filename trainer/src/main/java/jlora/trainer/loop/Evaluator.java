package jlora.trainer.loop;

import jlora.runtime.Resources;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Readback;
import jlora.runtime.backend.Routine;
import jlora.runtime.plan.Plan;
import jlora.trainer.data.Batch;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.data.DataPosition;

import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;

/** The mean loss over all trained tokens of a data set. */
public final class Evaluator implements AutoCloseable {
    /**
     * @param loss mean cross-entropy per trained token, in nats
     * @param tokens how many tokens that is the mean of
     */
    public record Result(double loss, long tokens) {
        public double perplexity() {
            return Math.exp(loss);
        }
    }

    private final Session session;
    private final BatchPlans plans;
    private final BatchSchedule data;
    private final Map<Plan, Routine> routines = new HashMap<>();
    private final Resources owned = new Resources();
    private final float[] one;
    private Optional<Workers> workers = Optional.empty();
    private Optional<SharedLosses> shared = Optional.empty();

    /**
     * @param plans of {@link Passes#evaluate}, bound to memory
     */
    public Evaluator(Session session, BatchPlans plans, BatchSchedule data) {
        this.session = session;
        this.plans = plans;
        this.data = data;
        this.one = new float[Math.max(1, session.blueprint().adapters().size()) + 1];
        Arrays.fill(one, 1);
    }

    /** Takes a part of the batches from now on, together with others that take theirs. */
    public Evaluator share(Workers with) {
        workers = Optional.of(with);
        shared = Optional.of(with.evaluationLosses(session));
        return this;
    }

    public Result run() {
        return run(() -> false, _ -> {}).orElseThrow();
    }

    /**
     * @param stop asked before each batch; once true, the evaluation ends without a result, with
     *     several workers after the batches that each of them has begun
     * @param beat told of each batch before it
     */
    public Optional<Result> run(BooleanSupplier stop, Consumer<String> beat) {
        return workers.isPresent()
                ? shared(workers.get(), shared.orElseThrow(), stop, beat)
                : alone(stop, beat);
    }

    private Optional<Result> alone(BooleanSupplier stop, Consumer<String> beat) {
        double sum = 0;
        long tokens = 0;
        // The device works on a batch while the next one is prepared.
        Optional<Readback> pending = Optional.empty();
        for (int i = 0; i < data.batchesPerEpoch(); i++) {
            if (stop.getAsBoolean()) {
                return Optional.empty();
            }
            beat.accept("evaluation batch " + (i + 1));
            Batch batch = data.batch(new DataPosition(0, i));
            start(batch);
            sum += pending.map(loss -> loss.get()[0]).orElse(0f);
            pending = Optional.of(session.backend().readLater(session.loss()));
            tokens += batch.trainedTokens();
        }
        sum += pending.map(loss -> loss.get()[0]).orElse(0f);
        return Optional.of(new Result(sum / tokens, tokens));
    }

    /** Adds the same losses in the same order as one worker alone. */
    private Optional<Result> shared(
            Workers with, SharedLosses losses, BooleanSupplier stop, Consumer<String> beat) {
        int batches = data.batchesPerEpoch();
        double sum = 0;
        long tokens = 0;
        for (int first = 0; first < batches; first += losses.slots()) {
            int end = Math.min(batches, first + losses.slots());
            int own = 0;
            losses.begin(stop.getAsBoolean());
            for (int i = first; i < end; i++) {
                beat.accept("evaluation batch " + (i + 1));
                Batch batch = data.batch(new DataPosition(0, i));
                tokens += batch.trainedTokens();
                if (with.own(i)) {
                    start(batch);
                    losses.keep(i - first);
                    own++;
                }
            }
            with.sitOut(end - first, own, plans.largest().plan(), session.backend());
            losses.exchange();
            float[] values = losses.readLater().get();
            if (losses.stop(values)) {
                return Optional.empty();
            }
            for (int i = first; i < end; i++) {
                sum += values[i - first];
            }
        }
        return Optional.of(new Result(sum / tokens, tokens));
    }

    private void start(Batch batch) {
        BatchPlans.Entry entry = plans.of(batch);
        StepMemory.upload(session.backend(), entry.inputs(), batch, one, 0, 0);
        routines.computeIfAbsent(entry.plan(), this::routine).run();
    }

    private Routine routine(Plan plan) {
        Backend backend = session.backend();
        return owned.own(backend.routine("evaluation", () -> plan.run(backend)));
    }

    @Override
    public void close() {
        owned.close();
    }
}
