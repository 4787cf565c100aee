package jlora.trainer.job;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.trainer.config.RunConfig;
import jlora.trainer.loop.Passes;

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

    public PlanJob(RunConfig config, Device device) {
        this.model = RunModel.forTraining(config, RunModel.dtype(config, device.gpu()));
        this.device = device;
        this.passes = TrainJob.passes(model, config, device);
        int length = RunData.maxLength(config, model.model().config());
        int batch = config.train().perDeviceTrainBatchSize();
        this.plan =
                RunPlan.of(
                        model.blueprint(),
                        passes,
                        Tensor.dense("loss", Storage.Role.RESULT, DType.F32, 1, 1),
                        new RunPlan.BatchSize(Math.multiplyExact(length, batch), batch, length),
                        Optional.empty(),
                        TrainJob.mode(config),
                        device,
                        config.train().gradientAccumulationSteps());
    }

    public RunModel model() {
        return model;
    }

    public RunPlan plan() {
        return plan;
    }

    public boolean fits() {
        return plan.fits(device);
    }

    /** What would fit, in one sentence. */
    public String advice() {
        return MemoryAdvice.of(model, passes, plan, device);
    }
}
