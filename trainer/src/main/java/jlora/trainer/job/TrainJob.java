package jlora.trainer.job;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.StopRequest;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Collective;
import jlora.runtime.io.ModelWriter;
import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.plan.Recompute;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.trainer.checkpoint.ParameterCopy;
import jlora.trainer.config.EvalStrategy;
import jlora.trainer.config.RunConfig;
import jlora.trainer.config.SaveStrategy;
import jlora.trainer.config.TrainConfig;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.loop.Evaluator;
import jlora.trainer.loop.NonfinitePolicy;
import jlora.trainer.loop.Passes;
import jlora.trainer.loop.Session;
import jlora.trainer.loop.TrainEngine;
import jlora.trainer.loop.TrainLoop;
import jlora.trainer.loop.Workers;
import jlora.trainer.metrics.StepListener;
import jlora.trainer.metrics.UsedMemory;
import jlora.trainer.optim.schedule.Schedules;

import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;

/**
 * A training run from its configuration to a trained session: everything that can fail without
 * weights fails first, then the plan is made and held against memory, then weights are read and the
 * loop runs. Files are the caller's.
 */
public final class TrainJob implements AutoCloseable {
    private final RunModel model;
    private final RunData data;
    private final RunPlan plan;
    private final Passes passes;
    private final Device device;
    private final Tensor loss = Tensor.dense("loss", Storage.Role.RESULT, DType.F32, 1, 1);
    private final StopRequest stop;
    private final Optional<Collective> others;
    private Session session;
    private ParameterCopy copy;

    /**
     * Reads configuration and data and plans the run.
     *
     * @param device what the run is planned for
     * @param threads that tokenise
     */
    public TrainJob(RunConfig config, Device device, int threads) {
        this(config, device, threads, new StopRequest());
    }

    /**
     * @param stop polled while data and model are read, which then end with {@link
     *     jlora.runtime.ExitCode#PREEMPTED}
     */
    public TrainJob(RunConfig config, Device device, int threads, StopRequest stop) {
        this(config, device, threads, stop, Optional.empty());
    }

    /**
     * A part of a run that several workers share.
     *
     * @param others what joins this worker to them; it belongs to the backend that the job is
     *     loaded into, and to the caller
     */
    public TrainJob(
            RunConfig config,
            Device device,
            int threads,
            StopRequest stop,
            Optional<Collective> others) {
        this.stop = stop;
        this.others = others;
        this.model =
                RunModel.forTraining(
                        config,
                        RunModel.dtype(config, device.gpu()),
                        others.flatMap(joined -> RunModel.sharding(config, joined)));
        this.device = device;
        this.data =
                RunData.forTraining(
                        config,
                        model.model().config(),
                        threads,
                        others.map(Collective::ranks).orElse(1),
                        stop);
        this.passes = passes(model, config, device);
        this.plan =
                RunPlan.of(
                        model.blueprint(),
                        passes,
                        loss,
                        size(data.training(), config, model),
                        data.evaluation().map(e -> size(e, config, model)),
                        mode(config),
                        device,
                        config.train().gradientAccumulationSteps(),
                        copyBytes(model, device));
    }

    /** What the copy of parameters and moments takes of the device's own memory. */
    static long copyBytes(RunModel model, Device device) {
        boolean copied =
                model.lora().isPresent() || model.config().save().saveStrategy() != SaveStrategy.NO;
        return device.gpu() || !copied ? 0 : ParameterCopy.bytes(model.blueprint().parameters());
    }

    static Passes passes(RunModel model, RunConfig config, Device device) {
        float smoothing = (float) config.train().labelSmoothingFactor();
        return new Passes(model.blueprint(), smoothing, device.logitsBytes());
    }

    private static RunPlan.BatchSize size(
            BatchSchedule schedule, RunConfig config, RunModel model) {
        return new RunPlan.BatchSize(
                schedule.maxTokensPerBatch(),
                schedule.maxSequencesPerBatch(),
                Math.min(
                        schedule.maxTokensPerBatch(),
                        RunData.maxLength(config, model.model().config())));
    }

    static Recompute.Mode mode(RunConfig config) {
        return Recompute.Mode.valueOf(config.train().gradientCheckpointing().name());
    }

    public RunModel model() {
        return model;
    }

    public RunData data() {
        return data;
    }

    public RunPlan plan() {
        return plan;
    }

    /** What the run is planned for. */
    public Device device() {
        return device;
    }

    /** The plan in words and as JSON. */
    PlanTable table() {
        int workers = others.map(Collective::ranks).orElse(1);
        return new PlanTable(model, plan, device, workers);
    }

    /** Refuses a plan that does not fit, with what would. */
    public void requireFit() {
        if (!plan.fits(device)) {
            throw new JloraException(
                    ExitCode.OUT_OF_MEMORY, MemoryAdvice.of(model, passes, plan, device));
        }
        OffloadPlan.require(model.config(), plan, device);
        OffloadPlan.requireHostMemory(plan, HostMemory.available());
    }

    /** Optimizer steps of the run. */
    public long totalSteps() {
        TrainConfig train = model.config().train();
        return train.maxSteps()
                .map(Integer::longValue)
                .orElseGet(
                        () ->
                                TrainLoop.steps(
                                        train.numTrainEpochs().orElseThrow(), data.training()));
    }

    /** Loads the model into a backend's memory; all memory of the run is allocated here. */
    public Session load(Backend backend) {
        stop.check("the run was planned");
        session = model.open(backend, loss, stop);
        plan.bind(session);
        return session;
    }

    /** The loaded run; after {@link #load}. */
    public Session session() {
        return session;
    }

    /** What performs the steps of this run; after {@link #load}. */
    public TrainEngine engine() {
        return engine(model, session, passes, plan);
    }

    static TrainEngine engine(RunModel model, Session session, Passes passes, RunPlan plan) {
        TrainConfig train = model.config().train();
        return new TrainEngine(
                session,
                passes,
                plan.training(),
                (float) train.maxGradNorm(),
                new AdamWKernel.Settings(
                        train.adamBeta1(),
                        train.adamBeta2(),
                        train.adamEpsilon(),
                        train.weightDecay(),
                        0),
                train.seed());
    }

    /** Trains to the end. */
    public void train(StepListener listener) {
        train(listener, TrainLoop.Surroundings.none());
    }

    /** Trains until the end, or until something around the run ends it. */
    TrainLoop.End train(StepListener listener, TrainLoop.Surroundings around) {
        TrainConfig train = model.config().train();
        TrainEngine engine = engine();
        Optional<Evaluator> evaluator =
                data.evaluation()
                        .map(
                                e ->
                                        session.own(
                                                new Evaluator(
                                                        session,
                                                        plan.evaluation().orElseThrow(),
                                                        e)));
        others.map(joined -> workers(joined, around.stop()))
                .ifPresent(
                        workers -> {
                            engine.share(workers);
                            evaluator.ifPresent(e -> e.share(workers));
                        });
        long steps = totalSteps();
        TrainLoop.Settings settings =
                new TrainLoop.Settings(
                        steps,
                        train.learningRate(),
                        Schedules.of(
                                train.lrSchedulerType().name().toLowerCase(java.util.Locale.ROOT)),
                        train.warmup(steps),
                        train.loggingSteps(),
                        train.evalStrategy() == EvalStrategy.STEPS
                                ? OptionalInt.of(train.evalSteps().orElse(train.loggingSteps()))
                                : OptionalInt.empty(),
                        train.evalStrategy() == EvalStrategy.EPOCH,
                        train.perDeviceTrainBatchSize());
        NonfinitePolicy nonfinite =
                new NonfinitePolicy(
                        model.config().job().onNonfinite(),
                        model.config().job().maxNonfiniteSteps());
        return new TrainLoop(
                        engine, data.training(), evaluator, settings, nonfinite, listener, around)
                .run();
    }

    private Workers workers(Collective joined, StopRequest asked) {
        int microBatches =
                Math.multiplyExact(
                        model.config().train().gradientAccumulationSteps(), joined.ranks());
        return new Workers(joined, microBatches, asked::asked);
    }

    /**
     * The host memory through which this run saves and restores; allocated when first asked for.
     */
    ParameterCopy copy() {
        if (copy == null) {
            OptionalLong before = UsedMemory.bytes(session.backend());
            copy = session.own(new ParameterCopy(session.blueprint().parameters()));
            if (!device.gpu()) {
                long bytes = ParameterCopy.bytes(session.blueprint().parameters());
                session.count(RunPlan.CHECKPOINT_COPY, bytes, before);
            }
        }
        return copy;
    }

    /** Writes what was trained: a PEFT folder, or the whole model as a Hugging Face folder. */
    public void save(Path folder) {
        if (model.lora().isEmpty()) {
            ModelWriter.write(folder, model.folder(), model.model(), session.backend());
            return;
        }
        copy().take(session.backend());
        writeAdapter(folder, copy);
    }

    /** Writes a PEFT folder of what a copy holds; nothing where whole weights are trained. */
    void writeAdapter(Path folder, ParameterCopy values) {
        if (model.lora().isPresent()) {
            SavedAdapter.write(
                    folder,
                    model.lora().get(),
                    model.blueprint().adapters().getFirst(),
                    values::value,
                    model.linearModules(),
                    model.base());
        }
    }

    @Override
    public void close() {
        if (session != null) {
            session.close();
        }
    }
}
