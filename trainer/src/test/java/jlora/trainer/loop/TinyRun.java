package jlora.trainer.loop;

import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.adapter.lora.LoraSpec;
import jlora.runtime.backend.Backend;
import jlora.runtime.io.Json;
import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.model.Model;
import jlora.runtime.model.Models;
import jlora.runtime.nn.Linear;
import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Recompute;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.ModelWeights;
import jlora.runtime.weight.ParameterSet;
import jlora.runtime.weight.RandomInit;
import jlora.trainer.data.Batch;
import jlora.trainer.data.DataPosition;
import jlora.trainer.data.Example;
import jlora.trainer.data.StepBatches;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.function.Consumer;
import java.util.function.Predicate;

/** A model of a few thousand random weights with adapters, ready to train and to evaluate. */
final class TinyRun implements AutoCloseable {
    static final String LLAMA =
            """
            {"model_type": "llama", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 61,
             "max_position_embeddings": 64, "attention_bias": true, "initializer_range": 0.2}
            """;
    static final String GPT2 =
            """
            {"model_type": "gpt2", "n_embd": 24, "n_layer": 3, "n_head": 3, "vocab_size": 61, "n_positions": 64,
             "initializer_range": 0.2}
            """;
    private static final int MAX_TOKENS = 64;
    private static final int MAX_SEQUENCES = 6;

    /**
     * An adapter by the modules it targets. Its first values depend on its name alone.
     *
     * @param targets which module paths
     */
    record AdapterSetup(
            String name, int rank, float scale, float dropout, Predicate<String> targets) {}

    private final Backend backend;
    private final Blueprint blueprint;
    private final Session session;
    private final BatchPlans training;
    private final BatchPlans evaluation;
    private final TrainEngine engine;

    TinyRun(
            Backend backend,
            String config,
            DType dtype,
            Recompute recompute,
            boolean mixed,
            List<AdapterSetup> adapters) {
        this(backend, config, dtype, recompute, mixed, adapters, weights -> {});
    }

    /**
     * @param stored says how weights are shared or stored
     */
    TinyRun(
            Backend backend,
            String config,
            DType dtype,
            Recompute recompute,
            boolean mixed,
            List<AdapterSetup> adapters,
            Consumer<ModelWeights> stored) {
        this.backend = backend;
        Model model =
                Models.create(
                        "config.json",
                        Json.parseObject("config.json", 1, config.getBytes(StandardCharsets.UTF_8)),
                        dtype);
        Map<String, Map<String, LoraSpec>> specs = new LinkedHashMap<>();
        for (AdapterSetup setup : adapters) {
            Map<String, LoraSpec> targeted = new LinkedHashMap<>();
            for (Linear linear : model.linears()) {
                for (Linear.Part part : linear.parts()) {
                    if (setup.targets.test(part.module())) {
                        targeted.put(
                                part.module(),
                                new LoraSpec(setup.rank, setup.scale, setup.dropout));
                    }
                }
            }
            specs.put(setup.name, targeted);
        }
        stored.accept(model.weights());
        this.blueprint = Blueprint.seal(model, specs, true);
        Tensor loss = Tensor.dense("loss", Storage.Role.RESULT, DType.F32, 1, 1);
        Passes passes = new Passes(blueprint, 0, 1 << 20);
        this.training =
                new BatchPlans(
                        MAX_TOKENS,
                        MAX_SEQUENCES,
                        MAX_TOKENS,
                        mixed,
                        (in, longest) -> passes.train(in, loss, longest, recompute));
        this.evaluation =
                new BatchPlans(
                        MAX_TOKENS,
                        MAX_SEQUENCES,
                        MAX_TOKENS,
                        mixed,
                        (in, longest) -> passes.evaluate(in, loss, longest));
        this.session = new Session(backend, blueprint, loss);
        bind(training);
        bind(evaluation);
        this.engine =
                new TrainEngine(
                        session,
                        passes,
                        training,
                        0.5f,
                        new AdamWKernel.Settings(0.9, 0.99, 1e-6, 0.1, 0),
                        9);
        RandomInit.fill(backend, model.weights(), 0.2, 1);
        blueprint
                .adapters()
                .forEach(adapter -> session.setAdapter(adapter, values(adapter, adapter.name())));
    }

    private void bind(BatchPlans plans) {
        Plan plan = plans.largest().plan();
        MemoryArena arena = session.own(backend.allocate("plan", plan.arenaBytes()));
        MemoryArena inputs = session.own(backend.allocate("inputs", plans.inputBytes()));
        plans.bind(arena, inputs);
    }

    /** Random values for an adapter's modules, A and B, by a name. */
    static AdapterValues values(LoraAdapter adapter, String name) {
        Map<String, AdapterValues.Pair> modules = new HashMap<>();
        for (LoraAdapter.Module module : adapter.modules()) {
            Random random = new Random((name + module.module()).hashCode());
            modules.put(
                    module.module(),
                    new AdapterValues.Pair(
                            normal(random, module.a().value().elements()),
                            normal(random, module.b().value().elements())));
        }
        return new AdapterValues(modules);
    }

    private static float[] normal(Random random, long count) {
        float[] values = new float[(int) count];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (0.2 * random.nextGaussian());
        }
        return values;
    }

    /** A row of random tokens, the first few without loss. */
    static Example row(int length, int seed) {
        Random random = new Random(seed);
        int[] ids = random.ints(length, 0, 61).toArray();
        int[] labels = ids.clone();
        for (int i = 0; i < length / 4; i++) {
            labels[i] = Example.IGNORED;
        }
        return new Example(ids, labels, null, 0);
    }

    /** Takes part in each step and leaves the rest to others. */
    TinyRun share(Workers workers) {
        engine.share(workers);
        return this;
    }

    BatchPlans evaluation() {
        return evaluation;
    }

    Session session() {
        return session;
    }

    LoraAdapter adapter(int index) {
        return blueprint.adapters().get(index);
    }

    AdapterValues values(int index) {
        return session.adapter(adapter(index));
    }

    Blueprint blueprint() {
        return blueprint;
    }

    Plan trainingPlan() {
        return training.largest().plan();
    }

    Plan evaluationPlan() {
        return evaluation.largest().plan();
    }

    long arenaBytes() {
        return training.largest().plan().arenaBytes();
    }

    long recomputedFlops() {
        return training.largest().plan().recomputedFlops();
    }

    TrainEngine.StepResult step(Batch... microBatches) {
        int tokens = 0;
        int trained = 0;
        for (Batch batch : microBatches) {
            tokens += batch.tokens();
            trained += batch.trainedTokens();
        }
        DataPosition here = DataPosition.START;
        return engine.step(
                new StepBatches(here, here, List.of(microBatches), tokens, trained), 1e-2);
    }

    /** The sum of the losses of all trained tokens. */
    double evaluate(Batch batch) {
        BatchPlans.Entry entry = evaluation.of(batch);
        float[] one = {1, 1, 1};
        StepMemory.upload(backend, entry.inputs(), batch, one, 0, 0);
        entry.plan().run(backend);
        return session.read(session.loss())[0];
    }

    /**
     * Gradients of one micro-batch by group of parameters, with every trained token's loss counting
     * the same.
     */
    List<float[]> gradients(Batch batch) {
        for (ParameterSet.Group group : blueprint.parameters().groups()) {
            group.gradient()
                    .segment()
                    .asSlice(group.gradient().byteOffset(0), 4 * group.gradient().cols())
                    .fill((byte) 0);
        }
        BatchPlans.Entry entry = training.of(batch);
        float[] same = {0, 0.05f, 0.05f};
        StepMemory.upload(backend, entry.inputs(), batch, same, 3, 4);
        entry.plan().run(backend);
        List<float[]> gradients = new ArrayList<>();
        for (ParameterSet.Group group : blueprint.parameters().groups()) {
            gradients.add(session.read(group.gradient()));
            group.gradient()
                    .segment()
                    .asSlice(group.gradient().byteOffset(0), 4 * group.gradient().cols())
                    .fill((byte) 0);
        }
        return gradients;
    }

    @Override
    public void close() {
        session.close();
    }
}
