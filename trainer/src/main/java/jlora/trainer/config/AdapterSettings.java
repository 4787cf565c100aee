package jlora.trainer.config;

import jlora.runtime.adapter.lora.LoraInit;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** The low-rank adapters of a run: PEFT's LoraConfig with {@code lora_} before its names. */
public record AdapterSettings(
        @Key(
                        also = {"r"},
                        doc = "Rank of the adapters.",
                        value = "8",
                        bounds = "[1, 65536]",
                        aka = {"rank", "lora_rank", "lora_dim"})
                int loraR,
        @Key(
                        doc =
                                "Numerator of the scale: the low-rank product counts lora_alpha /"
                                        + " lora_r times, or lora_alpha / √lora_r with use_rslora.",
                        value = "8",
                        bounds = "(0, inf)",
                        aka = {"alpha"})
                double loraAlpha,
        @Key(
                        doc = "Share of the inputs of A that is dropped while training.",
                        value = "0.0",
                        unit = "share",
                        bounds = "[0, 1)",
                        aka = {"dropout"})
                double loraDropout,
        @Key(
                        also = {"target_modules"},
                        doc =
                                "Modules that get an adapter: a list of names (equal to a module's"
                                    + " path or to its last parts), all-linear (every linear layer"
                                    + " but the output head), or one regular expression that"
                                    + " matches the whole path.",
                        derived =
                                "PEFT's choice for the architecture: q_proj and v_proj in Llama,"
                                        + " c_attn in GPT-2",
                        aka = {"lora_target_linear", "lora_modules"})
                Optional<ModuleNames> loraTargetModules,
        @Key(
                        also = {"exclude_modules"},
                        doc =
                                "Modules left out of the targets: a list of names or one regular"
                                        + " expression.")
                Optional<ModuleNames> loraExcludeModules,
        @Key(
                        also = {"layers_to_transform"},
                        doc =
                                "Indices of the layers that get adapters; others stay as they are."
                                        + " Not together with a regular expression as"
                                        + " lora_target_modules.",
                        derived = "all layers",
                        bounds = "[0, 65536]")
                Optional<List<Integer>> loraLayersToTransform,
        @Key(
                        also = {"layers_pattern"},
                        doc =
                                "Names of the module lists that lora_layers_to_transform counts in,"
                                        + " where the model has an unusual one.",
                        derived = "the architecture's layer list")
                Optional<List<String>> loraLayersPattern,
        @Key(
                        also = {"rank_pattern"},
                        doc =
                                "Ranks for some modules: module name or regular expression to rank;"
                                        + " the first that matches the end of the path wins over"
                                        + " lora_r.",
                        value = "{}",
                        bounds = "[1, 65536]")
                Map<String, Integer> loraRankPattern,
        @Key(
                        also = {"alpha_pattern"},
                        doc = "Alphas for some modules, as lora_rank_pattern.",
                        value = "{}",
                        bounds = "(0, inf)")
                Map<String, Double> loraAlphaPattern,
        @Key(
                        also = {"lora_use_rslora"},
                        doc =
                                "Scale by lora_alpha / √lora_r (rank-stabilised LoRA) instead of"
                                        + " lora_alpha / lora_r.",
                        value = "false",
                        aka = {"rslora"})
                boolean useRslora,
        @Key(
                        also = {"lora_init_weights", "lora_init_lora_weights"},
                        doc =
                                "How A starts: true (Kaiming-uniform, PEFT's default) or gaussian."
                                        + " B starts at zero either way, so the first step sees the"
                                        + " base model.",
                        value = "true")
                LoraInit initLoraWeights) {
    public AdapterSettings {
        loraLayersToTransform = loraLayersToTransform.map(List::copyOf);
        loraLayersPattern = loraLayersPattern.map(List::copyOf);
        loraRankPattern =
                java.util.Collections.unmodifiableMap(new LinkedHashMap<>(loraRankPattern));
        loraAlphaPattern =
                java.util.Collections.unmodifiableMap(new LinkedHashMap<>(loraAlphaPattern));
        Keys keys = Keys.of(AdapterSettings.class);
        keys.check("lora_r", loraR);
        keys.check("lora_alpha", loraAlpha);
        keys.check("lora_dropout", loraDropout);
        keys.check("lora_layers_to_transform", loraLayersToTransform);
        keys.check("lora_rank_pattern", loraRankPattern);
        keys.check("lora_alpha_pattern", loraAlphaPattern);
        if (loraExcludeModules.filter(m -> m instanceof ModuleNames.AllLinear).isPresent()) {
            throw new BadValueException(
                    List.of("lora_exclude_modules"),
                    "lora_exclude_modules cannot be all-linear, which would leave nothing to train;"
                            + " list the modules to leave out");
        }
        boolean regex = loraTargetModules.filter(m -> m instanceof ModuleNames.Regex).isPresent();
        if (regex && loraLayersToTransform.isPresent()) {
            throw new BadValueException(
                    List.of("lora_layers_to_transform", "lora_target_modules"),
                    "lora_layers_to_transform cannot be combined with a regular expression as"
                        + " lora_target_modules; write the layers into the expression or list the"
                        + " modules by name");
        }
        if (loraLayersPattern.isPresent() && loraLayersToTransform.isEmpty()) {
            throw new BadValueException(
                    List.of("lora_layers_pattern"),
                    "lora_layers_pattern has no effect without lora_layers_to_transform; give the"
                            + " layers or remove it");
        }
    }
}
