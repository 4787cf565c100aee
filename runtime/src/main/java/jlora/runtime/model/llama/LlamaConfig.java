package jlora.runtime.model.llama;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.model.ConfigReader;
import jlora.runtime.model.ModelConfig;

/**
 * The Llama family's configuration. Mistral adds a sliding window, Qwen2 biases on q, k and v;
 * everything else is the same.
 *
 * @param qkvBias biases on q, k and v
 * @param outputBias a bias on o
 */
record LlamaConfig(
        ModelConfig common,
        int intermediateSize,
        AttentionShape attention,
        float rmsNormEps,
        boolean qkvBias,
        boolean outputBias,
        boolean mlpBias,
        RopeScaling rope) {

    static LlamaConfig read(ConfigReader c) {
        String type = c.text("model_type", "llama");
        int hidden = c.positive("hidden_size");
        int heads = c.positive("num_attention_heads");
        int kvHeads = c.positive("num_key_value_heads", heads);
        if (heads % kvHeads != 0) {
            throw c.unsupported(
                    "num_key_value_heads",
                    String.valueOf(kvHeads),
                    "divisors of num_attention_heads");
        }
        if (!c.has("head_dim") && hidden % heads != 0) {
            throw c.unsupported(
                    "num_attention_heads", String.valueOf(heads), "divisors of hidden_size");
        }
        int headDim = c.positive("head_dim", Math.max(1, hidden / heads));
        if (headDim % 2 != 0) {
            throw c.unsupported("head_dim", String.valueOf(headDim), "even head sizes");
        }
        String activation = c.text("hidden_act", "silu");
        if (!activation.equals("silu") && !activation.equals("swish")) {
            throw c.unsupported("hidden_act", activation, "silu");
        }
        boolean window =
                type.equals("mistral")
                        || (type.equals("qwen2") && c.flag("use_sliding_window", false));
        if (window && type.equals("qwen2")) {
            throw c.unsupported("use_sliding_window", "true", "false");
        }
        boolean attentionBias = c.flag("attention_bias", false);
        int positions = c.positive("max_position_embeddings", type.equals("llama") ? 2048 : 32768);
        return new LlamaConfig(
                new ModelConfig(
                        type,
                        c.positive("vocab_size"),
                        hidden,
                        c.positive("num_hidden_layers"),
                        positions,
                        c.number("initializer_range", 0.02),
                        c.flag("tie_word_embeddings", false)),
                c.positive("intermediate_size"),
                new AttentionShape(
                        heads,
                        kvHeads,
                        headDim,
                        (float) (1 / Math.sqrt(headDim)),
                        window && c.has("sliding_window") ? c.positive("sliding_window") : 0),
                (float) c.number("rms_norm_eps", 1e-6),
                attentionBias || type.equals("qwen2"),
                attentionBias,
                c.flag("mlp_bias", false),
                RopeScaling.read(c, headDim, positions));
    }
}
