package jlora.runtime.io;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.JloraException;
import jlora.runtime.adapter.lora.LoraConfig;
import jlora.runtime.adapter.lora.LoraInit;
import jlora.runtime.adapter.lora.TargetModules;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;

/**
 * PEFT 0.21's {@code adapter_config.json} for LoRA. Reading refuses every field that jlora does not
 * honour unless it has PEFT's default value: ignoring it would give wrong results. Writing gives
 * all fields that PEFT writes.
 */
final class PeftConfigJson {
    private final String file;
    private final ObjectNode json;

    private PeftConfigJson(String file, ObjectNode json) {
        this.file = file;
        this.json = json;
    }

    /**
     * Checks and reads a configuration; what is malformed is exit code 3, what is not supported 2.
     */
    static LoraConfig read(String file, ObjectNode json) {
        return new PeftConfigJson(file, json).read();
    }

    private LoraConfig read() {
        String type = text("peft_type").orElse("");
        if (!type.equals("LORA")) {
            throw JloraException.usage(
                    file
                            + ": peft_type is "
                            + (type.isEmpty() ? "missing" : Json.quote(type))
                            + ", but jlora reads LORA adapters; convert or retrain the adapter");
        }
        json.properties().forEach(field -> refuseUnlessInert(field.getKey(), field.getValue()));
        Optional<String> task = text("task_type");
        if (task.isPresent() && !task.get().equals("CAUSAL_LM")) {
            throw unsupported("task_type", json.get("task_type"), "\"CAUSAL_LM\"");
        }
        try {
            LoraConfig config =
                    new LoraConfig(
                            field("r").map(n -> integer("r", n)).orElse(8),
                            field("lora_alpha").map(n -> number("lora_alpha", n)).orElse(8.0),
                            targetModules(),
                            modules("exclude_modules").filter(PeftConfigJson::excludesAny),
                            field("lora_dropout").map(n -> number("lora_dropout", n)).orElse(0.0),
                            flag("use_rslora"),
                            init(),
                            list("layers_to_transform", n -> integer("layers_to_transform", n)),
                            layersPattern(),
                            patterns("rank_pattern", this::integer),
                            patterns("alpha_pattern", this::number),
                            flag("fan_in_fan_out"),
                            text("base_model_name_or_path"),
                            text("revision"),
                            task);
            return config.validatePatterns();
        } catch (JloraException e) {
            throw e.getMessage().startsWith(file)
                    ? e
                    : new JloraException(e.exitCode(), file + ": " + e.getMessage());
        }
    }

    private void refuseUnlessInert(String name, JsonNode value) {
        if (PeftFields.HONOURED.contains(name) || PeftFields.WITHOUT_EFFECT.contains(name)) {
            return;
        }
        JsonNode usual = PeftFields.DEFAULTS.getOrDefault(name, PeftFields.OLD_DEFAULTS.get(name));
        if (value.isNull() || value.equals(usual) || isEmptyForNull(value, usual)) {
            return;
        }
        if (usual == null) {
            throw JloraException.usage(
                    file
                            + ": the field "
                            + Json.quote(name)
                            + " is not known to jlora and has the value "
                            + brief(value)
                            + "; remove it only if the adapter means the same without it");
        }
        throw unsupported(name, value, usual.toString());
    }

    private JloraException unsupported(String name, JsonNode value, String supported) {
        return JloraException.usage(
                file
                        + ": "
                        + name
                        + " is "
                        + brief(value)
                        + ", which jlora does not support; it reads adapters with "
                        + supported
                        + " there");
    }

    /** PEFT treats an empty list or object like null wherever null is the default. */
    private static boolean isEmptyForNull(JsonNode value, JsonNode usual) {
        return usual != null && usual.isNull() && value.isContainerNode() && value.isEmpty();
    }

    private static String brief(JsonNode value) {
        String text = Json.quote(value.toString());
        return text.substring(1, text.length() - 1);
    }

    private Optional<JsonNode> field(String key) {
        JsonNode node = json.get(key);
        return node == null || node.isNull() ? Optional.empty() : Optional.of(node);
    }

    private JloraException illTyped(String key, String wanted, JsonNode node) {
        return JloraException.corrupt(
                file
                        + ": "
                        + key
                        + " must be "
                        + wanted
                        + ", but is "
                        + brief(node)
                        + "; correct it or save the adapter again");
    }

    private int integer(String key, JsonNode node) {
        if (!node.isIntegralNumber() || !node.canConvertToInt()) {
            throw illTyped(key, "a whole number", node);
        }
        return node.intValue();
    }

    private double number(String key, JsonNode node) {
        if (!node.isNumber()) {
            throw illTyped(key, "a number", node);
        }
        return node.doubleValue();
    }

    private String string(String key, JsonNode node) {
        if (!node.isTextual()) {
            throw illTyped(key, "text", node);
        }
        return node.textValue();
    }

    private Optional<String> text(String key) {
        return field(key).map(node -> string(key, node));
    }

    private boolean flag(String key) {
        Optional<JsonNode> node = field(key);
        if (node.isPresent() && !node.get().isBoolean()) {
            throw illTyped(key, "true or false", node.get());
        }
        return node.map(JsonNode::booleanValue).orElse(false);
    }

    /**
     * As in PEFT, an empty text is no pattern, and without layers to choose the patterns say
     * nothing.
     */
    private List<String> layersPattern() {
        boolean chosen =
                field("layers_to_transform").map(n -> !n.isArray() || !n.isEmpty()).orElse(true);
        boolean empty =
                field("layers_pattern")
                        .map(n -> n.isTextual() && n.textValue().isEmpty())
                        .orElse(true);
        return chosen && !empty
                ? list("layers_pattern", n -> string("layers_pattern", n))
                : List.of();
    }

    /** A list, or a single value that PEFT takes for a list of one. */
    private <V> List<V> list(String key, Function<JsonNode, V> element) {
        List<V> values = new ArrayList<>();
        field(key)
                .ifPresent(
                        node -> {
                            if (node.isArray()) {
                                node.forEach(child -> values.add(element.apply(child)));
                            } else {
                                values.add(element.apply(node));
                            }
                        });
        return values;
    }

    private interface Typed<V> {
        V of(String key, JsonNode node);
    }

    private <V> Map<String, V> patterns(String key, Typed<V> typed) {
        Map<String, V> values = new LinkedHashMap<>();
        field(key)
                .ifPresent(
                        node -> {
                            if (!node.isObject()) {
                                throw illTyped(key, "an object", node);
                            }
                            node.properties()
                                    .forEach(
                                            e ->
                                                    values.put(
                                                            e.getKey(),
                                                            typed.of(
                                                                    key + " '" + e.getKey() + "'",
                                                                    e.getValue())));
                        });
        return values;
    }

    private Optional<TargetModules> modules(String key) {
        return field(key)
                .map(
                        node ->
                                node.isArray()
                                        ? new TargetModules.Names(list(key, n -> string(key, n)))
                                        : new TargetModules.Regex(string(key, node)));
    }

    /** An empty list or text excludes nothing, as in PEFT. */
    private static boolean excludesAny(TargetModules modules) {
        return switch (modules) {
            case TargetModules.Names(List<String> names) -> !names.isEmpty();
            case TargetModules.Regex(String pattern) -> !pattern.isEmpty();
            case TargetModules.AllLinear() -> true;
        };
    }

    /** {@code all-linear} means all linear layers among the targets only. */
    private TargetModules targetModules() {
        TargetModules modules =
                modules("target_modules")
                        .orElseThrow(
                                () ->
                                        JloraException.usage(
                                                file
                                                        + ": target_modules is missing, so the"
                                                        + " adapter does not say what it adapts;"
                                                        + " list the modules"));
        return modules instanceof TargetModules.Regex(String text)
                ? TargetModules.of(text)
                : modules;
    }

    /**
     * How a trained adapter started no longer matters, unless its start changed the base weights
     * too.
     */
    private LoraInit init() {
        Optional<JsonNode> node = field("init_lora_weights");
        if (node.isEmpty() || node.get().isBoolean()) {
            return LoraInit.KAIMING_UNIFORM;
        }
        return switch (string("init_lora_weights", node.get())) {
            case "gaussian" -> LoraInit.GAUSSIAN;
            case "orthogonal" -> LoraInit.KAIMING_UNIFORM;
            default ->
                    throw unsupported(
                            "init_lora_weights",
                            node.get(),
                            "true, false, \"gaussian\" or \"orthogonal\"");
        };
    }

    /**
     * The file's content for a configuration: the fields and the order of keys that PEFT writes.
     */
    static ObjectNode write(LoraConfig config) {
        Map<String, JsonNode> fields = new TreeMap<>(PeftFields.DEFAULTS);
        ObjectNode json = Json.object();
        json.putNull("auto_mapping");
        json.put("base_model_name_or_path", config.baseModelNameOrPath().orElse(null));
        json.put("fan_in_fan_out", config.fanInFanOut());
        json.put("inference_mode", true);
        if (config.initLoraWeights() == LoraInit.GAUSSIAN) {
            json.put("init_lora_weights", "gaussian");
        } else {
            json.put("init_lora_weights", true);
        }
        if (config.layersPattern().isEmpty()) {
            json.putNull("layers_pattern");
        } else {
            config.layersPattern().forEach(json.putArray("layers_pattern")::add);
        }
        if (config.layersToTransform().isEmpty()) {
            json.putNull("layers_to_transform");
        } else {
            config.layersToTransform().forEach(json.putArray("layers_to_transform")::add);
        }
        putNumber(json, "lora_alpha", config.loraAlpha());
        json.put("lora_dropout", config.loraDropout());
        json.put("peft_type", "LORA");
        json.put("peft_version", PeftFields.PEFT_VERSION);
        json.put("r", config.r());
        new TreeMap<>(config.rankPattern()).forEach(json.putObject("rank_pattern")::put);
        ObjectNode alphas = json.putObject("alpha_pattern");
        new TreeMap<>(config.alphaPattern()).forEach((k, v) -> putNumber(alphas, k, v));
        json.put("revision", config.revision().orElse(null));
        putModules(json, "target_modules", config.targetModules());
        if (config.excludeModules().isPresent()) {
            putModules(json, "exclude_modules", config.excludeModules().get());
        } else {
            json.putNull("exclude_modules");
        }
        json.put("task_type", config.taskType().orElse(null));
        json.put("use_rslora", config.useRslora());
        json.properties().forEach(field -> fields.put(field.getKey(), field.getValue()));
        ObjectNode sorted = Json.object();
        fields.forEach(sorted::set);
        return sorted;
    }

    /** PEFT's alphas are whole numbers unless the user gave others. */
    private static void putNumber(ObjectNode json, String key, double value) {
        if (value == Math.rint(value) && Math.abs(value) < 1L << 53) {
            json.put(key, (long) value);
        } else {
            json.put(key, value);
        }
    }

    private static void putModules(ObjectNode json, String key, TargetModules modules) {
        switch (modules) {
            case TargetModules.AllLinear() -> json.put(key, "all-linear");
            case TargetModules.Regex(String pattern) -> json.put(key, pattern);
            case TargetModules.Names(List<String> names) -> {
                ArrayNode array = json.putArray(key);
                names.stream().sorted().forEach(array::add);
            }
        }
    }
}
