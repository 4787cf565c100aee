package jlora.runtime.model.gpt2;

import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.model.ConfigReader;
import jlora.runtime.model.ModelConfig;

import java.util.ArrayList;
import java.util.List;

/**
 * GPT-2's configuration.
 *
 * @param inner features of the MLP's hidden layer
 * @param scaleByLayer divides the attention scores of layer i by i + 1
 * @param dropouts the base model's own dropouts that are not zero, by name
 */
record Gpt2Config(
        ModelConfig common,
        int heads,
        int inner,
        GeluKernel.Form activation,
        float layerNormEps,
        boolean scaleAttention,
        boolean scaleByLayer,
        List<String> dropouts) {

    static Gpt2Config read(ConfigReader c) {
        int hidden = c.positive("n_embd", 768);
        int heads = c.positive("n_head", 12);
        if (hidden % heads != 0) {
            throw c.unsupported("n_head", String.valueOf(heads), "divisors of n_embd");
        }
        if (c.flag("add_cross_attention", false)) {
            throw c.unsupported("add_cross_attention", "true", "false");
        }
        String activation = c.text("activation_function", "gelu_new");
        GeluKernel.Form form =
                switch (activation) {
                    case "gelu_new", "gelu_pytorch_tanh", "gelu_fast" -> GeluKernel.Form.TANH;
                    case "gelu" -> GeluKernel.Form.ERF;
                    default ->
                            throw c.unsupported(
                                    "activation_function", activation, "gelu_new and gelu");
                };
        List<String> dropouts = new ArrayList<>();
        for (String key : List.of("attn_pdrop", "embd_pdrop", "resid_pdrop")) {
            if (c.number(key, 0.1) != 0) {
                dropouts.add(key + " " + c.number(key, 0.1));
            }
        }
        return new Gpt2Config(
                new ModelConfig(
                        "gpt2",
                        c.positive("vocab_size", 50257),
                        hidden,
                        c.positive("n_layer", 12),
                        c.positive("n_positions", 1024),
                        c.number("initializer_range", 0.02),
                        c.flag("tie_word_embeddings", true)),
                heads,
                c.positive("n_inner", 4 * hidden),
                form,
                (float) c.number("layer_norm_epsilon", 1e-5),
                c.flag("scale_attn_weights", true),
                c.flag("scale_attn_by_inverse_layer_idx", false),
                dropouts);
    }
}
