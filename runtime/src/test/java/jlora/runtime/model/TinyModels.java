package jlora.runtime.model;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.adapter.lora.LoraSpec;
import jlora.runtime.backend.Backend;
import jlora.runtime.io.Json;
import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.nn.Linear;
import jlora.runtime.tensor.Bf16;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;

/** Models of a few thousand weights with the features of large ones, for tests. */
public final class TinyModels {
    /** Grouped queries, biases, untied head. */
    public static final String LLAMA =
            """
            {"model_type": "llama", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 61,
             "max_position_embeddings": 512, "attention_bias": true, "initializer_range": 0.2}
            """;

    /** As LLAMA with a sliding window that is shorter than the prompts of tests. */
    public static final String MISTRAL =
            """
            {"model_type": "mistral", "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 61,
             "max_position_embeddings": 512, "sliding_window": 11, "initializer_range": 0.2}
            """;

    public static final String GPT2 =
            """
            {"model_type": "gpt2", "n_embd": 24, "n_layer": 3, "n_head": 3, "vocab_size": 61, "n_positions": 512,
             "initializer_range": 0.2}
            """;

    private TinyModels() {}

    public static Model create(String config, DType dtype) {
        return Models.create("config.json", parse(config), dtype);
    }

    private static ObjectNode parse(String json) {
        return Json.parseObject("config.json", 1, json.getBytes(StandardCharsets.UTF_8));
    }

    /** An adapter on every linear module. */
    public static Map<String, LoraSpec> allLinear(
            Model model, int rank, float scale, float dropout) {
        Map<String, LoraSpec> specs = new LinkedHashMap<>();
        for (Linear linear : model.linears()) {
            linear.parts()
                    .forEach(part -> specs.put(part.module(), new LoraSpec(rank, scale, dropout)));
        }
        return specs;
    }

    /** Fills the borders of all adapters with normal values. */
    public static void fillBorders(Backend backend, Model model, double deviation, long seed) {
        Random random = new Random(seed);
        for (Linear linear : model.linears()) {
            for (LowRankBorder.Block block :
                    linear.weight().border().stream().flatMap(b -> b.blocks().stream()).toList()) {
                fill(backend, block.a(), deviation, random);
                fill(backend, block.b(), deviation, random);
            }
        }
    }

    private static void fill(Backend backend, Tensor tensor, double deviation, Random random) {
        float[] values = new float[(int) tensor.elements()];
        short[] rounded = new short[values.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) (random.nextGaussian() * deviation);
            rounded[i] = Bf16.fromFloat(values[i]);
        }
        backend.upload(
                tensor,
                tensor.dtype() == DType.F32
                        ? MemorySegment.ofArray(values)
                        : MemorySegment.ofArray(rounded));
    }
}
