package jlora.trainer.job;

import jlora.runtime.backend.Backend;
import jlora.runtime.io.SafetensorsType;
import jlora.runtime.io.SafetensorsWriter;
import jlora.runtime.nn.StepInputs;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Placement;
import jlora.trainer.config.RunConfig;
import jlora.trainer.data.Batch;
import jlora.trainer.data.BatchOptions;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.data.Example;
import jlora.trainer.data.Examples;
import jlora.trainer.loop.BatchPlans;
import jlora.trainer.loop.Evaluator;
import jlora.trainer.loop.Passes;
import jlora.trainer.loop.Session;
import jlora.trainer.loop.StepMemory;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;

/** Evaluates a model on a data set: its loss, and all its logits where they are wanted. */
public final class EvalJob implements AutoCloseable {
    private final RunModel model;
    private final Passes passes;
    private final Examples examples;
    private final BatchSchedule schedule;
    private final Tensor loss = Tensor.dense("loss", Storage.Role.RESULT, DType.F32, 1, 1);
    private final Session session;
    private final int batchSize;

    public EvalJob(RunConfig config, Backend backend) {
        Device device = Backends.device(config, backend);
        model = RunModel.forInference(config, RunModel.dtype(config, device.gpu()));
        passes = new Passes(model.blueprint(), 0, device.logitsBytes());
        examples = RunData.forEvaluation(config, model.model().config(), Backends.threads(config));
        batchSize = config.train().perDeviceEvalBatchSize();
        int longest = RunData.maxLength(config, model.model().config());
        schedule = new BatchSchedule(examples, BatchOptions.inOrder(batchSize, longest));
        session = model.open(backend, loss);
    }

    /** What the user should know before the result. */
    public List<String> notes() {
        return model.notes();
    }

    public Evaluator.Result evaluate() {
        BatchPlans plans =
                new BatchPlans(
                        schedule.maxTokensPerBatch(),
                        schedule.maxSequencesPerBatch(),
                        schedule.maxTokensPerBatch(),
                        model.blueprint().mixed(),
                        (inputs, longest) -> passes.evaluate(inputs, loss, longest));
        Backend backend = session.backend();
        try (MemoryArena arena = backend.allocate("plan", plans.largest().plan().arenaBytes());
                MemoryArena inputs = backend.allocate("batch inputs", plans.inputBytes())) {
            plans.bind(arena, inputs);
            try (Evaluator evaluator = new Evaluator(session, plans, schedule)) {
                return evaluator.run();
            }
        }
    }

    /**
     * Saves f32 {@code logits} [rows, length, vocabulary] of every token, in the order of the rows.
     */
    public void writeLogits(Path file) {
        int vocabulary = model.model().config().vocabSize();
        List<Example> rows = IntStream.range(0, examples.size()).mapToObj(examples::get).toList();
        int longest = rows.stream().mapToInt(Example::length).max().orElse(0);
        SafetensorsWriter writer = new SafetensorsWriter();
        writer.tensor(
                "logits",
                SafetensorsType.F32,
                new long[] {rows.size(), longest, vocabulary},
                sink -> {
                    for (Example row : rows) {
                        sink.write(logits(row, longest, vocabulary));
                    }
                });
        writer.write(file);
    }

    /** One row at a time: all logits of a long row fill memory fast enough. */
    private MemorySegment logits(Example row, int longest, int vocabulary) {
        Batch batch = Batch.ofAllTokens(List.of(row));
        StepInputs inputs =
                StepInputs.of(batch.tokens(), 1, model.blueprint().mixed(), batch.masked());
        Passes.Logits pass = passes.logits(inputs, batch.tokens());
        Backend backend = session.backend();
        MemorySegment padded =
                Arena.ofAuto().allocate((long) longest * vocabulary * Float.BYTES, 16);
        try (MemoryArena arena = backend.allocate("plan", pass.plan().arenaBytes());
                MemoryArena inputArena =
                        backend.allocate("batch inputs", Placement.bytes(inputs.storages()))) {
            pass.plan().bind(arena);
            StepMemory.place(inputs, inputArena);
            StepMemory.upload(backend, inputs, batch, new float[2], 0, 0);
            pass.plan().run(backend);
            backend.download(
                    padded.asSlice(0, pass.logits().elements() * Float.BYTES), pass.logits());
        }
        return padded;
    }

    @Override
    public void close() {
        session.close();
    }
}
