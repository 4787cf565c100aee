package jlora.runtime.io;

import jlora.runtime.adapter.lora.LoraConfig;
import jlora.runtime.adapter.lora.LoraSpec;
import jlora.runtime.adapter.lora.TargetModules;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.TreeMap;

/**
 * Spells a configuration so that whoever reads the file chooses the same modules, ranks and scales:
 * {@code all-linear} becomes names, and patterns whose meaning depends on their order, which the
 * sorted file loses, become one entry per module.
 */
final class PeftSpelling {
    private PeftSpelling() {}

    static LoraConfig of(LoraConfig config, Collection<String> linearModules) {
        SequencedMap<String, LoraSpec> selected = config.select(linearModules);
        LoraConfig spelled =
                config.withTargets(
                        config.targetModules(),
                        sorted(config.rankPattern()),
                        sorted(config.alphaPattern()));
        if (config.targetModules() instanceof TargetModules.AllLinear) {
            List<String> suffixes =
                    selected.keySet().stream()
                            .map(module -> module.substring(module.lastIndexOf('.') + 1))
                            .distinct()
                            .sorted()
                            .toList();
            LoraConfig byEnding =
                    spelled.withTargets(
                            new TargetModules.Names(suffixes),
                            spelled.rankPattern(),
                            spelled.alphaPattern());
            boolean same = byEnding.select(linearModules).keySet().equals(selected.keySet());
            spelled =
                    same
                            ? byEnding
                            : spelled.withTargets(
                                    new TargetModules.Names(List.copyOf(selected.keySet())),
                                    spelled.rankPattern(),
                                    spelled.alphaPattern());
        }
        if (spelled.select(linearModules).equals(selected)) {
            return spelled;
        }
        Map<String, Integer> ranks = new TreeMap<>();
        Map<String, Double> alphas = new TreeMap<>();
        selected.forEach(
                (module, spec) -> {
                    ranks.put(module, spec.rank());
                    alphas.put(module, config.alpha(module));
                });
        LoraConfig perModule = spelled.withTargets(spelled.targetModules(), ranks, alphas);
        if (!perModule.select(linearModules).equals(selected)) {
            throw new IllegalStateException("no spelling of " + config + " selects " + selected);
        }
        return perModule;
    }

    private static <V> Map<String, V> sorted(Map<String, V> patterns) {
        return new TreeMap<>(patterns);
    }
}
