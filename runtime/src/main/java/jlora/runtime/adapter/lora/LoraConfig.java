package jlora.runtime.adapter.lora;

import jlora.runtime.JloraException;

import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * LoRA (arXiv 2106.09685) as PEFT's {@code LoraConfig} describes it, under PEFT's names; fields
 * that are not here have their default value. A value that makes no sense is exit code 2.
 *
 * @param r rank of the update
 * @param loraAlpha numerator of the scale
 * @param targetModules which modules get an adapter
 * @param excludeModules names or a regular expression of modules that get none
 * @param loraDropout probability with which the low-rank path drops an input element
 * @param useRslora scale by alpha/√r instead of alpha/r
 * @param initLoraWeights how A and B start
 * @param layersToTransform indices of the layers that get adapters; empty for all
 * @param layersPattern names of the list of layers in module paths, regular expressions; empty for
 *     any
 * @param rankPattern ranks by regular expression on the end of a module's path; the first match
 *     counts
 * @param alphaPattern alphas, in the same way
 * @param fanInFanOut the base stores [in,out], as GPT-2's Conv1D does; adapters do not differ
 * @param baseModelNameOrPath what the adapter was trained on
 * @param revision of the base model
 * @param taskType PEFT's task, such as {@code CAUSAL_LM}
 */
public record LoraConfig(
        int r,
        double loraAlpha,
        TargetModules targetModules,
        Optional<TargetModules> excludeModules,
        double loraDropout,
        boolean useRslora,
        LoraInit initLoraWeights,
        List<Integer> layersToTransform,
        List<String> layersPattern,
        Map<String, Integer> rankPattern,
        Map<String, Double> alphaPattern,
        boolean fanInFanOut,
        Optional<String> baseModelNameOrPath,
        Optional<String> revision,
        Optional<String> taskType) {
    public LoraConfig {
        layersToTransform = List.copyOf(layersToTransform);
        layersPattern = List.copyOf(layersPattern);
        rankPattern = Collections.unmodifiableMap(new LinkedHashMap<>(rankPattern));
        alphaPattern = Collections.unmodifiableMap(new LinkedHashMap<>(alphaPattern));
        requireRank("r", r);
        rankPattern.forEach((key, rank) -> requireRank("rank_pattern '" + key + "'", rank));
        requireAlpha("lora_alpha", loraAlpha);
        alphaPattern.forEach((key, alpha) -> requireAlpha("alpha_pattern '" + key + "'", alpha));
        if (!(loraDropout >= 0 && loraDropout < 1)) {
            throw JloraException.usage(
                    "lora_dropout is " + loraDropout + ", but it must be at least 0 and below 1");
        }
        if (targetModules instanceof TargetModules.Names(List<String> names) && names.isEmpty()) {
            throw JloraException.usage(
                    "target_modules is empty; name modules such as q_proj and v_proj, or"
                            + " all-linear");
        }
        if (excludeModules.isPresent() && excludeModules.get() instanceof TargetModules.AllLinear) {
            throw JloraException.usage(
                    "exclude_modules is all-linear, which only target_modules knows; list names or"
                            + " give a regular expression");
        }
        if (layersToTransform.stream().anyMatch(layer -> layer < 0)) {
            throw JloraException.usage(
                    "layers_to_transform has a negative index; layers count from 0");
        }
        boolean byName = targetModules instanceof TargetModules.Names;
        if (!byName && !layersToTransform.isEmpty()) {
            throw JloraException.usage(
                    "layers_to_transform works only with a list of target_modules, as in PEFT; list"
                            + " the modules, or put the layers into the regular expression");
        }
        if (!layersPattern.isEmpty() && layersToTransform.isEmpty()) {
            throw JloraException.usage(
                    "layers_pattern needs layers_to_transform; set that as well or leave both out");
        }
    }

    private static void requireRank(String key, int rank) {
        if (rank < 1) {
            throw JloraException.usage(
                    key
                            + " is "
                            + rank
                            + ", but a LoRA rank must be 1 or more; 8 and 16 are usual");
        }
    }

    private static void requireAlpha(String key, double alpha) {
        if (!(alpha > 0 && alpha < Double.POSITIVE_INFINITY)) {
            throw JloraException.usage(
                    key
                            + " is "
                            + alpha
                            + ", but it must be a positive number; twice the rank is usual");
        }
    }

    /** Everything but rank, alpha and targets at PEFT's defaults, for causal language models. */
    public static LoraConfig of(int r, double loraAlpha, TargetModules targetModules) {
        return new LoraConfig(
                r,
                loraAlpha,
                targetModules,
                Optional.empty(),
                0,
                false,
                LoraInit.KAIMING_UNIFORM,
                List.of(),
                List.of(),
                Map.of(),
                Map.of(),
                false,
                Optional.empty(),
                Optional.empty(),
                Optional.of("CAUSAL_LM"));
    }

    /** The same with other targets and patterns: how a written adapter spells them. */
    public LoraConfig withTargets(
            TargetModules targets, Map<String, Integer> ranks, Map<String, Double> alphas) {
        return new LoraConfig(
                r,
                loraAlpha,
                targets,
                excludeModules,
                loraDropout,
                useRslora,
                initLoraWeights,
                layersToTransform,
                layersPattern,
                ranks,
                alphas,
                fanInFanOut,
                baseModelNameOrPath,
                revision,
                taskType);
    }

    /** The same for this base model and its storage order. */
    public LoraConfig withBase(String nameOrPath, boolean storedTransposed) {
        return new LoraConfig(
                r,
                loraAlpha,
                targetModules,
                excludeModules,
                loraDropout,
                useRslora,
                initLoraWeights,
                layersToTransform,
                layersPattern,
                rankPattern,
                alphaPattern,
                storedTransposed,
                Optional.of(nameOrPath),
                revision,
                taskType);
    }

    /**
     * The modules that get an adapter, in the order given, each with its rank and scale, exactly as
     * PEFT chooses; none at all is exit code 2.
     *
     * @param linearModules all linear layers of the model but its output head
     */
    public SequencedMap<String, LoraSpec> select(Collection<String> linearModules) {
        return new ModuleMatcher(this).select(linearModules);
    }

    /**
     * As {@link #select}, and each listed name must match some module: finds slips in a user's
     * list.
     */
    public SequencedMap<String, LoraSpec> selectEach(Collection<String> linearModules) {
        ModuleMatcher matcher = new ModuleMatcher(this);
        matcher.requireEachName(linearModules);
        return matcher.select(linearModules);
    }

    /**
     * Rank, scale and dropout of one module, whether or not it is a target: alpha/r, or alpha/√r
     * for rsLoRA (arXiv 2312.03732), with the patterns applied to both.
     */
    public LoraSpec spec(String module) {
        return new ModuleMatcher(this).spec(module);
    }

    /**
     * Compiles all regular expressions, so that one that cannot be used is found before a model is
     * opened.
     */
    public LoraConfig validatePatterns() {
        new ModuleMatcher(this);
        return this;
    }

    /** The alpha of one module, {@code alpha_pattern} applied. */
    public double alpha(String module) {
        return new ModuleMatcher(this).alpha(module);
    }
}
