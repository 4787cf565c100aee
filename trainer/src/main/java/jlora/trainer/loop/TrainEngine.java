package jlora.trainer.loop;

import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.nn.StepInputs;
import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Recompute;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Placement;
import jlora.trainer.data.Batch;
import jlora.trainer.data.StepBatches;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.BiConsumer;

/**
 * Performs optimizer steps: the micro-batch plan once per micro-batch, gradients adding up in
 * place, then the update plan. Knows nothing of epochs, schedules or files.
 *
 * <p>The loss of a step is the mean over the trained tokens of all its micro-batches, as in
 * Transformers. In a batch that mixes adapters each adapter's mean is over its own tokens, and the
 * loss is their sum, so every adapter trains as it would alone. Rows without an adapter take no
 * part.
 */
public final class TrainEngine {
    /**
     * What a step did.
     *
     * @param gradNorms before clipping, one per adapter
     */
    public record StepResult(double loss, float[] gradNorms) {
        /** The norm over all gradients. */
        public double gradNorm() {
            double sum = 0;
            for (float norm : gradNorms) {
                sum += (double) norm * norm;
            }
            return gradNorms.length == 1 ? gradNorms[0] : Math.sqrt(sum);
        }
    }

    private final Session session;
    private final BatchPlans plans;
    private final Plan update;
    private final Tensor schedule = Tensor.dense("schedule", Storage.Role.INPUT, DType.F32, 1, 3);
    private final Tensor norms;
    private final AdamWKernel.Settings adamW;
    private final int adapters;
    private final long seed;
    private BiConsumer<Plan, Backend> runner = Plan::run;
    private long microBatches;

    /**
     * @param plans of {@link Passes#train}, bound to memory
     * @param maxGradNorm 0 for no clipping
     * @param seed of dropout
     */
    public TrainEngine(
            Session session,
            Passes passes,
            BatchPlans plans,
            float maxGradNorm,
            AdamWKernel.Settings adamW,
            long seed) {
        this.session = session;
        this.plans = plans;
        this.adamW = adamW;
        this.seed = seed;
        this.adapters = Math.max(1, session.blueprint().adapters().size());
        int groups = session.blueprint().parameters().groups().size();
        this.norms = Tensor.dense("grad_norm", Storage.Role.RESULT, DType.F32, groups, 2);
        session.own(
                Placement.allocate(
                        session.backend(),
                        "optimizer scalars",
                        List.of(schedule.storage(), norms.storage())));
        this.update = passes.update(schedule, norms, maxGradNorm, adamW);
    }

    /** Runs plans by other means than {@link Plan#run(Backend)}: for profiles. */
    public void runPlansBy(BiConsumer<Plan, Backend> other) {
        runner = other;
    }

    /** A plan for {@link BatchPlans} of training batches. */
    public static Plan trace(
            Passes passes, Session session, StepInputs inputs, long longest, Recompute recompute) {
        return passes.train(inputs, session.loss(), longest, recompute);
    }

    /**
     * @param number of the optimizer step, from 1, for AdamW's bias correction
     */
    public StepResult step(StepBatches batches, long number, double learningRate) {
        session.blueprint().adapters().forEach(adapter -> adapter.requireUnmerged("trained"));
        Backend backend = session.backend();
        float[] scale = lossScale(batches.microBatches());
        double loss = 0;
        for (Batch batch : batches.microBatches()) {
            BatchPlans.Entry entry = plans.of(batch);
            StepMemory.upload(backend, entry.inputs(), batch, scale, seed, microBatches++);
            runner.accept(entry.plan(), backend);
            loss += session.read(session.loss())[0];
        }
        float correction1 = (float) (1 - Math.pow(adamW.beta1(), number));
        float correction2 = (float) (1 - Math.pow(adamW.beta2(), number));
        backend.upload(
                schedule,
                MemorySegment.ofArray(
                        new float[] {(float) learningRate, correction1, correction2}));
        runner.accept(update, backend);
        float[] values = session.read(norms);
        float[] gradNorms = new float[values.length / 2];
        for (int i = 0; i < gradNorms.length; i++) {
            gradNorms[i] = values[2 * i];
        }
        return new StepResult(loss, gradNorms);
    }

    /** 1 / trained tokens of the step, by adapter; 0 for rows without one, which train nothing. */
    private float[] lossScale(List<Batch> microBatches) {
        long[] trained = new long[adapters + 1];
        for (Batch batch : microBatches) {
            for (int t = 0; t < batch.tokens(); t++) {
                if (batch.targets()[t] >= 0) {
                    trained[batch.adapterOfRow()[t] + 1]++;
                }
            }
        }
        float[] scale = new float[adapters + 1];
        for (int i = 1; i < scale.length; i++) {
            scale[i] = trained[i] == 0 ? 0 : 1f / trained[i];
        }
        return scale;
    }
}
