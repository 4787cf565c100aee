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

    /**
     * @param plans of {@link Passes#evaluate}, bound to memory
     */
    public Evaluator(Session session, BatchPlans plans, BatchSchedule data) {
        this.session = session;
        this.plans = plans;
        this.data = data;
    }

    public Result run() {
        return run(() -> false, _ -> {}).orElseThrow();
    }

    /**
     * @param stop asked before each batch; once true, the evaluation ends without a result
     * @param beat told of each batch before it
     */
    public Optional<Result> run(BooleanSupplier stop, Consumer<String> beat) {
        Backend backend = session.backend();
        double sum = 0;
        long tokens = 0;
        float[] one = new float[Math.max(1, session.blueprint().adapters().size()) + 1];
        Arrays.fill(one, 1);
        // The device works on a batch while the next one is prepared.
        Optional<Readback> pending = Optional.empty();
        for (int i = 0; i < data.batchesPerEpoch(); i++) {
            if (stop.getAsBoolean()) {
                return Optional.empty();
            }
            beat.accept("evaluation batch " + (i + 1));
            Batch batch = data.batch(new DataPosition(0, i));
            BatchPlans.Entry entry = plans.of(batch);
            StepMemory.upload(backend, entry.inputs(), batch, one, 0, 0);
            routines.computeIfAbsent(entry.plan(), this::routine).run();
            sum += pending.map(loss -> loss.get()[0]).orElse(0f);
            pending = Optional.of(backend.readLater(session.loss()));
            tokens += batch.trainedTokens();
        }
        sum += pending.map(loss -> loss.get()[0]).orElse(0f);
        return Optional.of(new Result(sum / tokens, tokens));
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
