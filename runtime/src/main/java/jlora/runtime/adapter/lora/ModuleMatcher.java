package jlora.runtime.adapter.lora;

import jlora.runtime.JloraException;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.TreeSet;
import java.util.function.Predicate;

/**
 * Decides with a configuration's compiled patterns which modules get an adapter and with what rank,
 * by the rules of PEFT 0.21 ({@code check_target_module_exists}, {@code get_pattern_key}).
 */
final class ModuleMatcher {
    /** A compiled {@code rank_pattern} or {@code alpha_pattern} entry. */
    private record Keyed<V>(PythonRegex regex, V value) {}

    private final LoraConfig config;
    private final Predicate<String> target;
    private final Predicate<String> excluded;
    private final List<PythonRegex> layerIndex;
    private final List<Keyed<Integer>> ranks;
    private final List<Keyed<Double>> alphas;

    ModuleMatcher(LoraConfig config) {
        this.config = config;
        this.target = matcher("target_modules", config.targetModules());
        this.excluded =
                config.excludeModules()
                        .map(modules -> matcher("exclude_modules", modules))
                        .orElse(module -> false);
        // The first numbered segment is the layer: a later one may be an expert of the layer.
        this.layerIndex =
                config.layersPattern().isEmpty()
                        ? List.of(regex("layers_pattern", "", ".*?\\.[^.]*\\.(?P<idx>\\d+)\\."))
                        : config.layersPattern().stream()
                                .map(
                                        p ->
                                                regex(
                                                        "layers_pattern",
                                                        p,
                                                        "(?:^|.*?\\.)" + p + "\\.(?P<idx>\\d+)\\."))
                                .toList();
        this.ranks = keyed("rank_pattern", config.rankPattern());
        this.alphas = keyed("alpha_pattern", config.alphaPattern());
    }

    private static PythonRegex regex(String key, String source, String python) {
        return PythonRegex.compile(key, source, python);
    }

    private static <V> List<Keyed<V>> keyed(String key, Map<String, V> patterns) {
        List<Keyed<V>> compiled = new ArrayList<>();
        patterns.forEach(
                (pattern, value) ->
                        compiled.add(
                                new Keyed<>(
                                        regex(key, pattern, "(.*\\.)?(" + pattern + ")$"), value)));
        return compiled;
    }

    private static Predicate<String> matcher(String key, TargetModules modules) {
        return switch (modules) {
            case TargetModules.AllLinear() -> module -> true;
            case TargetModules.Regex(String pattern) -> regex(key, pattern, pattern)::fullMatch;
            case TargetModules.Names(List<String> names) ->
                    module -> names.stream().anyMatch(name -> named(module, name));
        };
    }

    private static boolean named(String module, String name) {
        return module.equals(name) || module.endsWith("." + name);
    }

    SequencedMap<String, LoraSpec> select(Collection<String> modules) {
        SequencedMap<String, LoraSpec> selected = new LinkedHashMap<>();
        for (String module : modules) {
            if (isTarget(module)) {
                selected.put(module, spec(module));
            }
        }
        if (selected.isEmpty()) {
            throw JloraException.usage(
                    "target_modules: "
                            + describeTargets()
                            + " selects no module of this model"
                            + narrowed()
                            + "; "
                            + available(modules));
        }
        return selected;
    }

    void requireEachName(Collection<String> modules) {
        if (config.targetModules() instanceof TargetModules.Names(List<String> names)) {
            for (String name : names) {
                if (modules.stream().noneMatch(module -> named(module, name))) {
                    throw JloraException.usage(
                            "target_modules: '"
                                    + name
                                    + "' matches no module of this model; "
                                    + available(modules));
                }
            }
        }
    }

    private boolean isTarget(String module) {
        if (excluded.test(module) || !target.test(module)) {
            return false;
        }
        if (config.layersToTransform().isEmpty()) {
            return true;
        }
        // A name given in full counts whatever its layer.
        return config.targetModules() instanceof TargetModules.Names(List<String> names)
                        && names.contains(module)
                || layerOf(module).map(config.layersToTransform()::contains).orElse(false);
    }

    private Optional<Integer> layerOf(String module) {
        for (PythonRegex regex : layerIndex) {
            Optional<String> index = regex.groupAtStart(module, "idx");
            if (index.isPresent()) {
                return index.get().length() > 9
                        ? Optional.empty()
                        : Optional.of(Integer.parseInt(index.get()));
            }
        }
        return Optional.empty();
    }

    LoraSpec spec(String module) {
        int r = patterned(module, ranks, config.rankPattern(), config.r());
        double scale = alpha(module) / (config.useRslora() ? Math.sqrt(r) : r);
        return new LoraSpec(r, (float) scale, (float) config.loraDropout());
    }

    double alpha(String module) {
        return patterned(module, alphas, config.alphaPattern(), config.loraAlpha());
    }

    private static <V> V patterned(
            String module, List<Keyed<V>> compiled, Map<String, V> literal, V otherwise) {
        for (Keyed<V> entry : compiled) {
            if (entry.regex.matchesStart(module)) {
                return entry.value;
            }
        }
        return literal.getOrDefault(module, otherwise);
    }

    private String describeTargets() {
        return switch (config.targetModules()) {
            case TargetModules.AllLinear() -> "all-linear";
            case TargetModules.Regex(String pattern) -> "'" + pattern + "'";
            case TargetModules.Names(List<String> names) -> "'" + String.join("', '", names) + "'";
        };
    }

    private String narrowed() {
        if (config.excludeModules().isEmpty() && config.layersToTransform().isEmpty()) {
            return "";
        }
        return " that exclude_modules and layers_to_transform leave";
    }

    private static String available(Collection<String> modules) {
        TreeSet<String> suffixes = new TreeSet<>();
        modules.forEach(module -> suffixes.add(module.substring(module.lastIndexOf('.') + 1)));
        return "it has " + String.join(", ", suffixes);
    }
}
