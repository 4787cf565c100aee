package jlora.trainer.loop;

import jlora.trainer.data.Batch;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.data.DataPosition;

/** The mean loss over all trained tokens of a data set. */
public final class Evaluator {
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

    /**
     * @param plans of {@link Passes#evaluate}, bound to memory
     */
    public Evaluator(Session session, BatchPlans plans, BatchSchedule data) {
        this.session = session;
        this.plans = plans;
        this.data = data;
    }

    public Result run() {
        double sum = 0;
        long tokens = 0;
        float[] one = new float[Math.max(1, session.blueprint().adapters().size()) + 1];
        java.util.Arrays.fill(one, 1);
        for (int i = 0; i < data.batchesPerEpoch(); i++) {
            Batch batch = data.batch(new DataPosition(0, i));
            BatchPlans.Entry entry = plans.of(batch);
            StepMemory.upload(session.backend(), entry.inputs(), batch, one, 0, 0);
            entry.plan().run(session.backend());
            sum += session.read(session.loss())[0];
            tokens += batch.trainedTokens();
        }
        return new Result(sum / tokens, tokens);
    }
}
