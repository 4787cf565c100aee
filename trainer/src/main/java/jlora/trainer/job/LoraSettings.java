package jlora.trainer.job;

import jlora.runtime.adapter.lora.LoraConfig;
import jlora.runtime.adapter.lora.TargetModules;
import jlora.trainer.config.AdapterSettings;
import jlora.trainer.config.ModuleNames;

import java.util.List;
import java.util.Optional;

/** Translates between a run's {@code lora_} keys and PEFT's LoraConfig. */
final class LoraSettings {
    private LoraSettings() {}

    /**
     * @param modelType decides the targets where none are given, as in PEFT
     */
    static LoraConfig config(AdapterSettings s, String modelType, String base) {
        boolean gpt2 = modelType.equals("gpt2");
        TargetModules usual =
                new TargetModules.Names(gpt2 ? List.of("c_attn") : List.of("q_proj", "v_proj"));
        return new LoraConfig(
                s.loraR(),
                s.loraAlpha(),
                s.loraTargetModules().map(LoraSettings::targets).orElse(usual),
                s.loraExcludeModules().map(LoraSettings::targets),
                s.loraDropout(),
                s.useRslora(),
                s.initLoraWeights(),
                s.loraLayersToTransform().orElse(List.of()),
                s.loraLayersPattern().orElse(List.of()),
                s.loraRankPattern(),
                s.loraAlphaPattern(),
                gpt2,
                Optional.of(base),
                Optional.empty(),
                Optional.of("CAUSAL_LM"));
    }

    private static TargetModules targets(ModuleNames names) {
        return switch (names) {
            case ModuleNames.AllLinear _ -> new TargetModules.AllLinear();
            case ModuleNames.Names(List<String> list) -> new TargetModules.Names(list);
            case ModuleNames.Regex(String regex) -> new TargetModules.Regex(regex);
        };
    }

    /**
     * The keys that would have made a saved adapter's configuration; initialisation is over and
     * keeps what is given.
     */
    static AdapterSettings settings(LoraConfig c, AdapterSettings given) {
        return new AdapterSettings(
                c.r(),
                c.loraAlpha(),
                c.loraDropout(),
                Optional.of(names(c.targetModules())),
                c.excludeModules().map(LoraSettings::names),
                c.layersToTransform().isEmpty()
                        ? Optional.empty()
                        : Optional.of(c.layersToTransform()),
                c.layersPattern().isEmpty() ? Optional.empty() : Optional.of(c.layersPattern()),
                c.rankPattern(),
                c.alphaPattern(),
                c.useRslora(),
                given.initLoraWeights());
    }

    private static ModuleNames names(TargetModules targets) {
        return switch (targets) {
            case TargetModules.AllLinear _ -> new ModuleNames.AllLinear();
            case TargetModules.Names(List<String> list) -> new ModuleNames.Names(list);
            case TargetModules.Regex(String pattern) -> new ModuleNames.Regex(pattern);
        };
    }
}
