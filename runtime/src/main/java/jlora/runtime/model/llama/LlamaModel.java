package jlora.runtime.model.llama;

import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.model.ConfigReader;
import jlora.runtime.model.Model;
import jlora.runtime.model.ModelConfig;
import jlora.runtime.nn.Linear;
import jlora.runtime.nn.StepInputs;
import jlora.runtime.op.Embedding;
import jlora.runtime.op.Normed;
import jlora.runtime.op.RmsNorm;
import jlora.runtime.op.Rope;
import jlora.runtime.op.Swiglu;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.BorderedWeight;
import jlora.runtime.weight.CheckpointTensor.Init;
import jlora.runtime.weight.ModelWeights;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Llama (arXiv 2302.13971) and its close relatives: RMSNorm, rotary positions, grouped queries,
 * SwiGLU.
 */
public final class LlamaModel implements Model {
    private record Layer(
            Tensor inputNorm,
            Linear qkv,
            Linear output,
            Tensor postNorm,
            Linear gateUp,
            Linear down) {}

    private final LlamaConfig config;
    private final ModelWeights weights;
    private final Tensor embedding;
    private final Tensor inverseFrequencies;
    private final List<Layer> layers = new ArrayList<>();
    private final Tensor finalNorm;
    private final Optional<BorderedWeight> head;

    private LlamaModel(LlamaConfig config, DType dtype) {
        this.config = config;
        this.weights = new ModelWeights(dtype);
        ModelConfig c = config.common();
        AttentionShape a = config.attention();
        int hidden = c.hiddenSize();
        embedding = weights.plain("model.embed_tokens.weight", c.vocabSize(), hidden, Init.NORMAL);
        inverseFrequencies = weights.constant("rope.inverse_frequencies", a.headDim() / 2);
        for (int i = 0; i < c.layers(); i++) {
            String path = "model.layers." + i;
            String attention = path + ".self_attn";
            String mlp = path + ".mlp";
            layers.add(
                    new Layer(
                            weights.plain(path + ".input_layernorm.weight", 1, hidden, Init.ONES),
                            new Linear.Builder(weights, "layers." + i + ".qkv", hidden)
                                    .module(attention + ".q_proj", a.queryCols())
                                    .module(attention + ".k_proj", a.keyCols())
                                    .module(attention + ".v_proj", a.keyCols())
                                    .bias(config.qkvBias())
                                    .build(),
                            new Linear.Builder(weights, "layers." + i + ".o", a.queryCols())
                                    .module(attention + ".o_proj", hidden)
                                    .bias(config.outputBias())
                                    .build(),
                            weights.plain(
                                    path + ".post_attention_layernorm.weight",
                                    1,
                                    hidden,
                                    Init.ONES),
                            new Linear.Builder(weights, "layers." + i + ".gate_up", hidden)
                                    .module(mlp + ".gate_proj", config.intermediateSize())
                                    .module(mlp + ".up_proj", config.intermediateSize())
                                    .bias(config.mlpBias())
                                    .build(),
                            new Linear.Builder(
                                            weights,
                                            "layers." + i + ".down",
                                            config.intermediateSize())
                                    .module(mlp + ".down_proj", hidden)
                                    .bias(config.mlpBias())
                                    .build()));
        }
        finalNorm = weights.plain("model.norm.weight", 1, hidden, Init.ONES);
        head =
                c.tiedHead()
                        ? Optional.empty()
                        : Optional.of(weights.matrix("lm_head.weight", c.vocabSize(), hidden));
    }

    public static Model create(ConfigReader config, DType dtype) {
        return new LlamaModel(LlamaConfig.read(config), dtype);
    }

    @Override
    public ModelConfig config() {
        return config.common();
    }

    @Override
    public ModelWeights weights() {
        return weights;
    }

    @Override
    public List<Linear> linears() {
        return layers.stream()
                .flatMap(l -> List.of(l.qkv, l.output, l.gateUp, l.down).stream())
                .toList();
    }

    @Override
    public AttentionShape attentionShape() {
        return config.attention();
    }

    @Override
    public void fillConstants(Backend backend) {
        backend.upload(
                inverseFrequencies, MemorySegment.ofArray(config.rope().inverseFrequencies()));
    }

    @Override
    public Tensor hidden(Trace trace, StepInputs in, AttentionCall attention) {
        float eps = config.rmsNormEps();
        AttentionShape shape = config.attention();
        Tensor h = Embedding.apply(trace, in.ids(), in.positions(), embedding, Optional.empty());
        Tensor rope = Rope.table(trace, in.positions(), inverseFrequencies, 1);
        Optional<Tensor> branch = Optional.empty();
        for (int i = 0; i < layers.size(); i++) {
            Layer layer = layers.get(i);
            trace.enterLayer(i);
            Normed normed =
                    RmsNorm.apply(
                            trace, "norm1", h, branch, layer.inputNorm, eps, layer.qkv.inputPad());
            trace.checkpoint(normed.sum());
            Tensor qkv = Rope.apply(trace, layer.qkv.apply(trace, normed.out(), in), rope, shape);
            Tensor mixed = attention.apply(trace, i, qkv, shape, layer.output.inputPad());
            Tensor o = layer.output.apply(trace, mixed, in);
            Normed second =
                    RmsNorm.apply(
                            trace,
                            "norm2",
                            normed.sum(),
                            Optional.of(o),
                            layer.postNorm,
                            eps,
                            layer.gateUp.inputPad());
            Tensor gateUp = layer.gateUp.apply(trace, second.out(), in);
            Tensor activated = Swiglu.apply(trace, gateUp, layer.down.inputPad());
            branch = Optional.of(layer.down.apply(trace, activated, in));
            h = second.sum();
        }
        trace.enterLayer(-1);
        return RmsNorm.apply(trace, "norm", h, branch, finalNorm, eps, 0).out();
    }

    @Override
    public Tensor head(Trace trace) {
        head.ifPresent(weight -> weight.expandIn(trace));
        return head.map(BorderedWeight::weight).orElse(embedding);
    }

    @Override
    public List<String> notices() {
        return List.of();
    }
}
