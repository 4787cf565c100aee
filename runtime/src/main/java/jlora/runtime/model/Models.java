package jlora.runtime.model;

import com.fasterxml.jackson.databind.JsonNode;

import jlora.runtime.JloraException;
import jlora.runtime.model.gpt2.Gpt2Model;
import jlora.runtime.model.llama.LlamaModel;
import jlora.runtime.tensor.DType;

import java.util.Map;
import java.util.TreeMap;

/**
 * The architectures that jlora knows, by the {@code model_type} of config.json. A new one is one
 * line here.
 */
public final class Models {
    /** Declares a model's weights from its configuration. */
    @FunctionalInterface
    public interface Factory {
        Model create(ConfigReader config, DType dtype);
    }

    private static final Map<String, Factory> REGISTRY =
            Map.of(
                    "gpt2", Gpt2Model::create,
                    "llama", LlamaModel::create,
                    "mistral", LlamaModel::create,
                    "qwen2", LlamaModel::create);

    private Models() {}

    /**
     * A model as config.json describes it, without memory.
     *
     * @param where the file, for messages
     */
    public static Model create(String where, JsonNode config, DType dtype) {
        ConfigReader reader = new ConfigReader(where, config);
        refuseQuantised(where, config);
        String type = reader.text("model_type", "");
        Factory factory = REGISTRY.get(type);
        if (factory == null) {
            throw JloraException.usage(
                    where
                            + ": model_type "
                            + (type.isEmpty() ? "is missing" : "'" + type + "' is not supported")
                            + "; jlora supports "
                            + String.join(", ", names().keySet())
                            + ".");
        }
        return factory.create(reader, dtype);
    }

    /** Codes of others are no weights to train over, nor to merge into. */
    private static void refuseQuantised(String where, JsonNode config) {
        JsonNode quantised = config.path("quantization_config");
        if (quantised.isObject()) {
            throw JloraException.usage(
                    where
                            + ": quantization_config says that these weights are quantised already"
                            + " ("
                            + quantised.path("quant_method").asText("by an unnamed method")
                            + "); take the original checkpoint, and load_in_4bit: true to quantise"
                            + " it as it is read.");
        }
    }

    /** Registered names, sorted. */
    public static Map<String, Factory> names() {
        return new TreeMap<>(REGISTRY);
    }
}
