package jlora.runtime.io;

import com.fasterxml.jackson.databind.JsonNode;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * All fields of PEFT 0.21's {@code LoraConfig} as its files have them, by what jlora does with
 * them.
 */
final class PeftFields {
    /** The version whose fields these are; written as {@code peft_version}. */
    static final String PEFT_VERSION = "0.21.0";

    /** Fields that say nothing about what the adapter computes. */
    static final Set<String> WITHOUT_EFFECT =
            Set.of("auto_mapping", "inference_mode", "peft_version", "runtime_config");

    /** Fields that jlora honours. */
    static final Set<String> HONOURED =
            Set.of(
                    "alpha_pattern",
                    "base_model_name_or_path",
                    "exclude_modules",
                    "fan_in_fan_out",
                    "init_lora_weights",
                    "layers_pattern",
                    "layers_to_transform",
                    "lora_alpha",
                    "lora_dropout",
                    "peft_type",
                    "r",
                    "rank_pattern",
                    "revision",
                    "target_modules",
                    "task_type",
                    "use_rslora");

    /** Fields that must have their default value, and that value. */
    static final Map<String, JsonNode> DEFAULTS = defaults();

    /** Fields of PEFT before 0.3, gone since. */
    static final Map<String, JsonNode> OLD_DEFAULTS =
            fields("{\"enable_lora\": null, \"merge_weights\": false}");

    private PeftFields() {}

    private static Map<String, JsonNode> defaults() {
        return fields(
                """
                {
                  "alora_invocation_tokens": null,
                  "arrow_config": null,
                  "bias": "none",
                  "corda_config": null,
                  "ensure_weight_tying": false,
                  "eva_config": null,
                  "kasa_config": null,
                  "layer_replication": null,
                  "loftq_config": {},
                  "lora_bias": false,
                  "lora_ga_config": null,
                  "megatron_config": null,
                  "megatron_core": "megatron.core",
                  "modules_to_save": null,
                  "monteclora_config": null,
                  "qalora_group_size": 16,
                  "target_parameters": null,
                  "trainable_token_indices": null,
                  "use_bdlora": null,
                  "use_dora": false,
                  "use_qalora": false,
                  "velora_config": null
                }
                """);
    }

    private static Map<String, JsonNode> fields(String json) {
        Map<String, JsonNode> fields = new TreeMap<>();
        Json.parseObject("defaults", 1, json.getBytes(StandardCharsets.UTF_8))
                .properties()
                .forEach(field -> fields.put(field.getKey(), field.getValue()));
        return fields;
    }
}
