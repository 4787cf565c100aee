package jlora.trainer.loop;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Readback;
import jlora.runtime.backend.Routine;
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
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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
     * @param gradNorms before clipping, one per adapter; where one is not finite, as where the loss
     *     is not, the step was none for that adapter
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

        /** False when parameters stayed as they were. */
        public boolean finite() {
            return Double.isFinite(loss) && Double.isFinite(gradNorm());
        }
    }

    private final Session session;
    private final BatchPlans plans;
    private final Plan update;
    private final Tensor rate = Tensor.dense("learning_rate", Storage.Role.INPUT, DType.F32, 1, 1);
    private final Tensor norms;
    private final int adapters;
    private final long seed;
    private final Map<List<Plan>, Routine> routines = new HashMap<>();
    private Optional<BiConsumer<Plan, Backend>> runner = Optional.empty();
    private final List<Routine> lastStep = new ArrayList<>();
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
        this.seed = seed;
        this.adapters = Math.max(1, session.blueprint().adapters().size());
        int groups = session.blueprint().parameters().groups().size();
        this.norms = Tensor.dense("grad_norm", Storage.Role.RESULT, DType.F32, groups, 2);
        session.own(
                Placement.allocate(
                        session.backend(),
                        "optimizer scalars",
                        List.of(rate.storage(), norms.storage())));
        this.update = passes.update(rate, norms, maxGradNorm, adamW);
    }

    /** Runs plans by other means than {@link Plan#run(Backend)}: for profiles. */
    public void runPlansBy(BiConsumer<Plan, Backend> other) {
        runner = Optional.of(other);
    }

    /** The plan that follows a step's micro-batches. */
    public Plan update() {
        return update;
    }

    /**
     * Milliseconds that the device works on a step like the last one, without its uploads; for
     * benchmarks, since parameters change as in a step.
     */
    public double repeatMilliseconds() {
        return session.backend().milliseconds(() -> lastStep.forEach(Routine::run));
    }

    /** Launches of recorded work in a step. */
    public int launches() {
        return lastStep.size();
    }

    /** True when a step that was started is still running; see {@link Backend#asynchronous}. */
    public boolean asynchronous() {
        return session.backend().asynchronous();
    }

    /** A plan for {@link BatchPlans} of training batches. */
    public static Plan trace(
            Passes passes, Session session, StepInputs inputs, long longest, Recompute recompute) {
        return passes.train(inputs, session.loss(), longest, recompute);
    }

    /** Starts a step and waits for what it did. */
    public StepResult step(StepBatches batches, double learningRate) {
        return start(batches, learningRate).get();
    }

    /**
     * Starts a step; the next one may be started before this one's results are asked for. Where the
     * norm of a group's gradients is not finite, the device leaves the group's parameters and
     * moments as they are.
     */
    public PendingStep start(StepBatches batches, double learningRate) {
        session.blueprint().adapters().forEach(adapter -> adapter.requireUnmerged("trained"));
        Backend backend = session.backend();
        backend.upload(rate, MemorySegment.ofArray(new float[] {(float) learningRate}));
        float[] scale = lossScale(batches.microBatches());
        List<Readback> losses = new ArrayList<>();
        lastStep.clear();
        boolean whole = batches.microBatches().size() == 1;
        for (Batch batch : batches.microBatches()) {
            BatchPlans.Entry entry = plans.of(batch);
            StepMemory.upload(backend, entry.inputs(), batch, scale, seed, microBatches++);
            run(whole ? List.of(entry.plan(), update) : List.of(entry.plan()));
            losses.add(backend.readLater(session.loss()));
        }
        if (!whole) {
            run(List.of(update));
        }
        return new PendingStep(losses, backend.readLater(norms));
    }

    /** Micro-batches of the run so far, which dropout is numbered by. */
    public long microBatches() {
        return microBatches;
    }

    /** Goes on with the numbers of a run that has so many micro-batches behind it. */
    void resumeAt(long microBatches) {
        this.microBatches = microBatches;
    }

    /**
     * How many updates each group of parameters has had, which AdamW's bias correction counts by;
     * steps that were left out are none. Waits for the steps that were started.
     */
    public float[] appliedUpdates() {
        return session.read(session.blueprint().parameters().updates());
    }

    /** Plans that always run in a row are one routine: on a GPU one launch. */
    private void run(List<Plan> inOrder) {
        Backend backend = session.backend();
        if (runner.isPresent()) {
            inOrder.forEach(plan -> runner.get().accept(plan, backend));
            return;
        }
        Routine routine =
                routines.computeIfAbsent(
                        inOrder,
                        plansOfRoutine ->
                                session.own(
                                        backend.routine(
                                                "step",
                                                () ->
                                                        plansOfRoutine.forEach(
                                                                p -> p.run(backend)))));
        routine.run();
        lastStep.add(routine);
    }

    /**
     * Kernels, copies and fills that launches of recorded work start: those of a step, or of a
     * micro-batch and the update, for each size of batch so far; 0 on a CPU.
     */
    public List<Long> nodes() {
        return routines.values().stream().map(Routine::nodes).toList();
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
