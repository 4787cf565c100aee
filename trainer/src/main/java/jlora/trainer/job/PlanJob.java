package jlora.trainer.job;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.trainer.config.RunConfig;
import jlora.trainer.loop.Passes;
import jlora.trainer.loop.Session;
import jlora.trainer.loop.TrainEngine;

import java.util.Optional;

/**
 * The plan of a run from its configuration and config.json alone: no weights, no data, no device.
 * Without data the batch is the largest that the configuration allows: per_device_train_batch_size
 * sequences of max_length tokens.
 */
public final class PlanJob {
    private final RunModel model;
    private final Passes passes;
    private final RunPlan plan;
    private final Device device;
    private final RunPlan.BatchSize size;
    private final int workers;

    public PlanJob(RunConfig config, Device device) {
        this(config, device, 1);
    }

    /**
     * @param workers that share the run; the plan is for one of them
     */
    public PlanJob(RunConfig config, Device device, int workers) {
        this.workers = workers;
        this.model =
                RunModel.forTraining(
                        config,
                        RunModel.dtype(config, device.gpu()),
                        RunModel.sharding(config, workers));
        this.device = device;
        this.passes = TrainJob.passes(model, config, device);
        int length = RunData.maxLength(config, model.model().config());
        int batch = config.train().perDeviceTrainBatchSize();
        this.size = new RunPlan.BatchSize(Math.multiplyExact(length, batch), batch, length);
        this.plan =
                RunPlan.of(
                        model.blueprint(),
                        passes,
                        Tensor.dense("loss", Storage.Role.RESULT, DType.F32, 1, 1),
                        size,
                        Optional.empty(),
                        TrainJob.mode(config),
                        device,
                        config.train().gradientAccumulationSteps(),
                        TrainJob.copyBytes(model, device));
    }

    public RunModel model() {
        return model;
    }

    public RunPlan plan() {
        return plan;
    }

    /** The plan in words and as JSON. */
    public PlanTable table() {
        return new PlanTable(model, plan, device, workers);
    }

    /** The batch that the plan is for. */
    public RunPlan.BatchSize batchSize() {
        return size;
    }

    /** Allocates the run on the backend it was planned for, and fills its weights. */
    public Session open(Backend backend) {
        Session session = model.open(backend, plan.loss());
        plan.bind(session);
        return session;
    }

    /** What performs the steps of an opened run. */
    public TrainEngine engine(Session session) {
        return TrainJob.engine(model, session, passes, plan);
    }

    public boolean fits() {
        return plan.fits(device);
    }

    /** Refuses an offload that makes no sense, with what would; exit code 2. */
    public void requireOffload() {
        OffloadPlan.require(model.config(), plan, device);
    }

    /** What would fit, in one sentence. */
    public String advice() {
        return MemoryAdvice.of(model, passes, plan, device);
    }
}
