package jlora.runtime.model.gpt2;

import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.model.ConfigReader;
import jlora.runtime.model.Model;
import jlora.runtime.model.ModelConfig;
import jlora.runtime.nn.Linear;
import jlora.runtime.nn.StepInputs;
import jlora.runtime.op.Embedding;
import jlora.runtime.op.Gelu;
import jlora.runtime.op.LayerNorm;
import jlora.runtime.op.Normed;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.BorderedWeight;
import jlora.runtime.weight.CheckpointTensor.Init;
import jlora.runtime.weight.ModelWeights;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * GPT-2: LayerNorm, learned positions, one fused attention projection, GELU; weights stored
 * [in,out].
 */
public final class Gpt2Model implements Model {
    private record Layer(
            Tensor norm1,
            Tensor norm1Bias,
            Linear attention,
            Linear projection,
            Tensor norm2,
            Tensor norm2Bias,
            Linear up,
            Linear down) {
        List<Linear> linears() {
            return List.of(attention, projection, up, down);
        }
    }

    private final Gpt2Config config;
    private final ModelWeights weights;
    private final Tensor tokens;
    private final Tensor positions;
    private final List<Layer> layers = new ArrayList<>();
    private final Tensor finalNorm;
    private final Tensor finalNormBias;
    private final Optional<BorderedWeight> head;

    private Gpt2Model(Gpt2Config config, DType dtype) {
        this.config = config;
        this.weights = new ModelWeights(dtype);
        ModelConfig c = config.common();
        int hidden = c.hiddenSize();
        tokens = weights.plain("transformer.wte.weight", c.vocabSize(), hidden, Init.NORMAL);
        positions = weights.plain("transformer.wpe.weight", c.maxPositions(), hidden, Init.NORMAL);
        for (int i = 0; i < c.layers(); i++) {
            String path = "transformer.h." + i;
            layers.add(
                    new Layer(
                            weights.plain(path + ".ln_1.weight", 1, hidden, Init.ONES),
                            weights.plain(path + ".ln_1.bias", 1, hidden, Init.ZEROS),
                            linear(i, "attn.c_attn", hidden, 3L * hidden),
                            linear(i, "attn.c_proj", hidden, hidden),
                            weights.plain(path + ".ln_2.weight", 1, hidden, Init.ONES),
                            weights.plain(path + ".ln_2.bias", 1, hidden, Init.ZEROS),
                            linear(i, "mlp.c_fc", hidden, config.inner()),
                            linear(i, "mlp.c_proj", config.inner(), hidden)));
        }
        finalNorm = weights.plain("transformer.ln_f.weight", 1, hidden, Init.ONES);
        finalNormBias = weights.plain("transformer.ln_f.bias", 1, hidden, Init.ZEROS);
        head =
                c.tiedHead()
                        ? Optional.empty()
                        : Optional.of(weights.matrix("lm_head.weight", c.vocabSize(), hidden));
    }

    public static Model create(ConfigReader config, DType dtype) {
        return new Gpt2Model(Gpt2Config.read(config), dtype);
    }

    private Linear linear(int layer, String module, long in, long out) {
        return new Linear.Builder(weights, "layers." + layer + "." + module, in)
                .module("transformer.h." + layer + "." + module, out)
                .bias(true)
                .conv1d()
                .build();
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
        return layers.stream().flatMap(l -> l.linears().stream()).toList();
    }

    @Override
    public AttentionShape attentionShape() {
        return attentionShape(0);
    }

    private AttentionShape attentionShape(int layer) {
        int headDim = config.common().hiddenSize() / config.heads();
        double scale = config.scaleAttention() ? 1 / Math.sqrt(headDim) : 1;
        return new AttentionShape(
                config.heads(),
                config.heads(),
                headDim,
                (float) (config.scaleByLayer() ? scale / (layer + 1) : scale),
                0);
    }

    @Override
    public void fillConstants(Backend backend) {
        // Positions are learned: nothing to compute.
    }

    @Override
    public Tensor hidden(Trace trace, StepInputs in, AttentionCall attention) {
        float eps = config.layerNormEps();
        Tensor h = Embedding.apply(trace, in.ids(), in.positions(), tokens, Optional.of(positions));
        Optional<Tensor> branch = Optional.empty();
        for (int i = 0; i < layers.size(); i++) {
            Layer layer = layers.get(i);
            trace.enterLayer(i);
            Normed normed =
                    LayerNorm.apply(
                            trace,
                            "norm1",
                            h,
                            branch,
                            layer.norm1,
                            layer.norm1Bias,
                            eps,
                            layer.attention.inputPad());
            trace.checkpoint(normed.sum());
            Tensor qkv = layer.attention.apply(trace, normed.out(), in);
            Tensor mixed =
                    attention.apply(trace, i, qkv, attentionShape(i), layer.projection.inputPad());
            Tensor o = layer.projection.apply(trace, mixed, in);
            Normed second =
                    LayerNorm.apply(
                            trace,
                            "norm2",
                            normed.sum(),
                            Optional.of(o),
                            layer.norm2,
                            layer.norm2Bias,
                            eps,
                            layer.up.inputPad());
            Tensor inner = layer.up.apply(trace, second.out(), in);
            Tensor activated = Gelu.apply(trace, inner, config.activation(), layer.down.inputPad());
            branch = Optional.of(layer.down.apply(trace, activated, in));
            h = second.sum();
        }
        trace.enterLayer(-1);
        return LayerNorm.apply(trace, "norm", h, branch, finalNorm, finalNormBias, eps, 0).out();
    }

    @Override
    public Tensor head(Trace trace) {
        head.ifPresent(weight -> weight.expandIn(trace));
        return head.map(BorderedWeight::weight).orElse(tokens);
    }

    @Override
    public List<String> notices() {
        return config.dropouts().isEmpty()
                ? List.of()
                : List.of(
                        "config.json asks for dropout inside the base model ("
                                + String.join(", ", config.dropouts())
                                + "); jlora trains without it (set lora_dropout to regularise the"
                                + " adapter).");
    }
}
