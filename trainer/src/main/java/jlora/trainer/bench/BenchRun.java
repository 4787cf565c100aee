package jlora.trainer.bench;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.model.ModelConfig;
import jlora.runtime.nn.Linear;
import jlora.runtime.plan.Plan;
import jlora.runtime.tensor.DType;
import jlora.trainer.config.RunConfig;
import jlora.trainer.data.Batch;
import jlora.trainer.data.DataPosition;
import jlora.trainer.data.Example;
import jlora.trainer.data.StepBatches;
import jlora.trainer.job.Backends;
import jlora.trainer.job.PlanJob;
import jlora.trainer.job.RunPlan;
import jlora.trainer.loop.PendingStep;
import jlora.trainer.loop.Session;
import jlora.trainer.loop.TrainEngine;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * A training run over random weights and random tokens, every one of them a label: what benchmarks
 * measure. A batch is {@code per_device_train_batch_size} sequences of {@code max_length} tokens,
 * packed without a gap.
 */
public final class BenchRun implements AutoCloseable {
    /** Batches that steps take in turn, so that no step finds the one before in its caches. */
    private static final int BATCHES = 4;

    private final Backend backend;
    private final PlanJob job;
    private final Session session;
    private final TrainEngine engine;
    private final double learningRate;
    private final List<StepBatches> batches = new ArrayList<>();
    private long steps;

    private BenchRun(Backend backend, PlanJob job, RunConfig config) {
        this.backend = backend;
        this.job = job;
        this.session = job.open(backend);
        this.engine = job.engine(session);
        this.learningRate = config.train().learningRate();
        int vocabulary = job.model().model().config().vocabSize();
        RunPlan.BatchSize size = job.batchSize();
        int accumulation = config.train().gradientAccumulationSteps();
        Random random = new Random(config.train().seed());
        for (int i = 0; i < BATCHES; i++) {
            batches.add(batches(random, vocabulary, size, accumulation));
        }
    }

    /**
     * Plans the run and allocates it.
     *
     * @param config with {@code random_init}
     * @throws JloraException exit code 4 when it does not fit
     */
    public static BenchRun open(Backend backend, RunConfig config) {
        PlanJob job = new PlanJob(config, Backends.device(config, backend));
        if (!job.fits()) {
            throw new JloraException(ExitCode.OUT_OF_MEMORY, job.advice());
        }
        return new BenchRun(backend, job, config);
    }

    private static StepBatches batches(
            Random random, int vocabulary, RunPlan.BatchSize size, int accumulation) {
        List<Batch> micro = new ArrayList<>();
        for (int m = 0; m < accumulation; m++) {
            List<Example> rows = new ArrayList<>();
            for (int s = 0; s < size.sequences(); s++) {
                rows.add(Example.of(random.ints(size.longest(), 0, vocabulary).toArray()));
            }
            micro.add(Batch.ofAllTokens(rows));
        }
        return StepBatches.of(DataPosition.START, DataPosition.START, micro);
    }

    public Backend backend() {
        return backend;
    }

    public PlanJob job() {
        return job;
    }

    public Session session() {
        return session;
    }

    public TrainEngine engine() {
        return engine;
    }

    /**
     * A plan of a step.
     *
     * @param runs how often a step runs it
     */
    public record Part(Plan plan, int runs) {}

    /** The plans of a step: micro-batch, then update. */
    public List<Part> parts() {
        return List.of(
                new Part(job.plan().microBatch(), batches.getFirst().microBatches().size()),
                new Part(engine.update(), 1));
    }

    public DType dtype() {
        return job.model().model().weights().dtype();
    }

    /**
     * FLOPs of a step by the convention that leaves adapters, attention and recomputing out: four
     * per token for each weight of a product, the head's included.
     */
    public double modelFlops() {
        ModelConfig config = job.model().model().config();
        double weights = (double) config.vocabSize() * config.hiddenSize();
        for (Linear linear : job.model().model().linears()) {
            weights += (double) linear.weight().rows() * linear.weight().cols();
        }
        return 4 * weights * tokens();
    }

    /** Tokens of one step. */
    public long tokens() {
        return batches.getFirst().tokens();
    }

    /** Starts the next step. */
    public PendingStep start() {
        StepBatches next = batches.get((int) (steps % BATCHES));
        steps++;
        return engine.start(next, learningRate);
    }

    @Override
    public void close() {
        session.close();
    }
}
