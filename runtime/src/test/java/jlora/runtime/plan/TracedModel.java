package jlora.runtime.plan;

import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.adapter.lora.LoraSpec;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Collective;
import jlora.runtime.model.Model;
import jlora.runtime.model.TinyModels;
import jlora.runtime.nn.Linear;
import jlora.runtime.nn.StepInputs;
import jlora.runtime.op.Attention;
import jlora.runtime.op.LinearCrossEntropy;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Parameter;
import jlora.runtime.weight.ParameterSet;
import jlora.runtime.weight.Placement;
import jlora.runtime.weight.RandomInit;
import jlora.runtime.weight.Sharding;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** A model whose training step is traced as a run does it, with the memory to run it once. */
final class TracedModel implements AutoCloseable {
    /**
     * What is traced.
     *
     * @param config of the model
     * @param adapters on every linear layer; 0 trains all weights
     * @param ranks that share the weights; this is the second of them, or the only one
     */
    record Setup(String name, String config, DType dtype, int adapters, float dropout, int ranks) {
        @Override
        public String toString() {
            return name
                    + " "
                    + dtype.torchName()
                    + ", "
                    + adapters
                    + " adapters, dropout "
                    + dropout
                    + (ranks > 1 ? ", a share of " + ranks : "");
        }

        static List<Setup> all() {
            List<Setup> all = new ArrayList<>();
            for (DType dtype : List.of(DType.F32, DType.BF16)) {
                for (int adapters = 0; adapters < 3; adapters++) {
                    for (float dropout : adapters == 0 ? new float[] {0} : new float[] {0, 0.3f}) {
                        all.add(new Setup("llama", TinyModels.LLAMA, dtype, adapters, dropout, 1));
                        all.add(new Setup("gpt2", TinyModels.GPT2, dtype, adapters, dropout, 1));
                    }
                }
            }
            all.add(new Setup("llama", TinyModels.LLAMA, DType.F32, 1, 0.3f, 3));
            all.add(new Setup("gpt2", TinyModels.GPT2, DType.BF16, 2, 0, 2));
            return all;
        }
    }

    /** Plays all ranks: what this one has comes from each. */
    private record Echo(int rank, int ranks) implements Collective {
        @Override
        public String describe() {
            return "echo";
        }

        @Override
        public void sum(Tensor inPlace) {
            throw new UnsupportedOperationException();
        }

        @Override
        public void gather(Tensor whole, Tensor part) {
            long bytes = part.elements() * part.dtype().bytes();
            MemorySegment from = part.segment().asSlice(part.byteOffset(0), bytes);
            for (int r = 0; r < ranks; r++) {
                long to = whole.byteOffset(0) + r * bytes;
                whole.segment().asSlice(to, bytes).copyFrom(from);
            }
        }

        @Override
        public void finish() {}

        @Override
        public void close() {}
    }

    static final int TOKENS = 23;
    private static final int[] STARTS = {0, 9, 21, TOKENS};

    private final Setup setup;
    private final Model model;
    private final ParameterSet parameters;
    private final List<MemoryArena> arenas = new ArrayList<>();
    private final Tensor loss = Tensor.dense("loss", Storage.Role.RESULT, DType.F32, 1, 1);
    private final StepInputs inputs;

    TracedModel(Setup setup) {
        this.setup = setup;
        this.model = TinyModels.create(setup.config, setup.dtype);
        if (setup.ranks > 1) {
            Sharding sharding = new Sharding(1, setup.ranks);
            sharding.join(new Echo(1, setup.ranks));
            model.weights().shard(sharding);
        }
        List<Parameter> trained = new ArrayList<>();
        List<LoraAdapter> attached = new ArrayList<>();
        for (int i = 0; i < setup.adapters; i++) {
            Map<String, LoraSpec> specs = TinyModels.allLinear(model, 3 + i, 1.5f, setup.dropout);
            attached.add(LoraAdapter.attach(model, "adapter" + i, i, specs));
        }
        model.weights().seal();
        attached.forEach(a -> trained.addAll(a.parameters()));
        this.parameters =
                new ParameterSet(setup.adapters == 0 ? model.weights().parameters() : trained);
        model.weights().bordersFrom(parameters);
        this.inputs = StepInputs.of(TOKENS, STARTS.length - 1, setup.adapters > 1, false);
    }

    Plan plan(Recompute recompute) {
        return plan(inputs, TOKENS / 2, recompute);
    }

    private Plan plan(StepInputs in, long chunk, Recompute recompute) {
        Trace trace = Trace.training(setup.dtype, parameters.gradients());
        Tensor hidden =
                model.hidden(
                        trace,
                        in,
                        (t, layer, qkv, shape, pad) ->
                                Attention.apply(
                                        t,
                                        qkv,
                                        in.cuSeqlens(),
                                        in.keyMask(),
                                        shape,
                                        in.tokens(),
                                        pad));
        LinearCrossEntropy.apply(
                trace,
                loss,
                hidden,
                model.head(trace),
                in.targets(),
                in.lossScale(),
                0,
                in.mostTargets(),
                chunk);
        return trace.finish(recompute);
    }

    int layers() {
        return model.config().layers();
    }

    List<Linear> linears() {
        return model.linears();
    }

    /** A plan for fewer tokens. */
    Plan smaller(Recompute recompute) {
        return plan(StepInputs.of(TOKENS / 2, 1, setup.adapters > 1, false), 4, recompute);
    }

    /** Plans a large model of which nothing is allocated. */
    static Plan plan(Model model, int rank, int tokens, Recompute recompute) {
        LoraAdapter adapter =
                LoraAdapter.attach(model, "adapter", 0, TinyModels.allLinear(model, rank, 1, 0));
        model.weights().seal();
        ParameterSet parameters = new ParameterSet(adapter.parameters());
        StepInputs in = StepInputs.of(tokens, 1, false, false);
        Trace trace = Trace.training(DType.BF16, parameters.gradients());
        Tensor hidden =
                model.hidden(
                        trace,
                        in,
                        (t, layer, qkv, shape, pad) ->
                                Attention.apply(
                                        t, qkv, in.cuSeqlens(), in.keyMask(), shape, tokens, pad));
        Tensor loss = Tensor.dense("loss", Storage.Role.RESULT, DType.F32, 1, 1);
        LinearCrossEntropy.apply(
                trace,
                loss,
                hidden,
                model.head(trace),
                in.targets(),
                in.lossScale(),
                0,
                in.mostTargets(),
                128);
        return trace.finish(recompute);
    }

    /**
     * Allocates everything but the plan's arena, and fills it: weights, borders, a batch of three
     * sequences.
     */
    void load(Backend backend) {
        arenas.add(model.weights().allocate(backend));
        arenas.add(parameters.allocate(backend));
        arenas.add(inputs.allocate(backend));
        arenas.add(Placement.allocate(backend, "results", List.of(loss.storage())));
        model.fillConstants(backend);
        RandomInit.fill(backend, model.weights(), 0.2, 1);
        if (setup.ranks > 1) {
            parameters.parameters().stream()
                    .map(parameters::master)
                    .forEach(m -> backend.kernels().randomFill().normal(m, m.offset(), 2, 3, 0.2));
        } else {
            TinyModels.fillBorders(backend, model, 0.2, 2);
        }
        int[] ids = new int[TOKENS];
        int[] positions = new int[TOKENS];
        int[] targets = new int[TOKENS];
        int[] adapterOfRow = new int[TOKENS];
        float[] scale = new float[TOKENS];
        for (int s = 0; s + 1 < STARTS.length; s++) {
            for (int t = STARTS[s]; t < STARTS[s + 1]; t++) {
                ids[t] = (7 * t + 3) % 61;
                positions[t] = t - STARTS[s];
                targets[t] = t % 5 == 0 ? -100 : (11 * t + 5) % 61;
                adapterOfRow[t] = setup.adapters > 1 ? s - 1 : 0;
                scale[t] = 0.05f;
            }
        }
        backend.upload(inputs.ids(), MemorySegment.ofArray(ids));
        backend.upload(inputs.positions(), MemorySegment.ofArray(positions));
        backend.upload(inputs.targets(), MemorySegment.ofArray(targets));
        backend.upload(inputs.adapterOfRow(), MemorySegment.ofArray(adapterOfRow));
        backend.upload(inputs.lossScale(), MemorySegment.ofArray(scale));
        backend.upload(inputs.cuSeqlens(), MemorySegment.ofArray(STARTS));
        backend.upload(inputs.rng(), MemorySegment.ofArray(new int[] {5, 6, 7}));
    }

    /** Runs a bound plan and returns the loss and all gradients, which start from zero. */
    float[] run(Backend backend, Plan plan) {
        for (ParameterSet.Group group : parameters.groups()) {
            group.gradient().segment().fill((byte) 0);
        }
        plan.run(backend);
        float[] result = new float[1 + (int) parameters.elements()];
        MemorySegment all = MemorySegment.ofArray(result);
        backend.download(all, loss);
        long at = Float.BYTES;
        for (ParameterSet.Group group : parameters.groups()) {
            backend.download(all.asSlice(at), group.gradient());
            at += group.gradient().elements() * Float.BYTES;
        }
        return result;
    }

    @Override
    public void close() {
        arenas.forEach(MemoryArena::close);
    }
}
