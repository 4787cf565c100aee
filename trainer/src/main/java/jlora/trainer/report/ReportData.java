package jlora.trainer.report;

import jlora.trainer.config.Setting;
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.StepMetrics;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What a report shows.
 *
 * @param title what was trained, in a few words
 * @param subtitle how and where, in one line
 * @param steps the logged steps, in order
 * @param evaluations the evaluations, in order
 * @param memory the memory plan, in the order to show it
 * @param measured what the plan came to; empty where that is not known
 * @param settings the resolved configuration
 * @param facts everything else worth keeping (model, device, versions, duration, tokens), in the
 *     order to show it
 */
public record ReportData(
        String title,
        String subtitle,
        List<StepMetrics> steps,
        List<EvalMetrics> evaluations,
        List<MemoryItem> memory,
        Optional<MemoryComparison> measured,
        List<Setting> settings,
        Map<String, String> facts) {
    public ReportData {
        steps = List.copyOf(steps);
        evaluations = List.copyOf(evaluations);
        memory = List.copyOf(memory);
        settings = List.copyOf(settings);
        facts = Collections.unmodifiableMap(new LinkedHashMap<>(facts));
    }
}
