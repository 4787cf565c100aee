package jlora.trainer.metrics;

import jlora.runtime.Resources;
import jlora.trainer.config.ReportTarget;
import jlora.trainer.metrics.tensorboard.TensorBoardReport;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;

/**
 * What {@code report_to} can name. A new target is one constant of {@link ReportTarget}, one class,
 * and one line here.
 */
public final class ReportTargets {
    private ReportTargets() {}

    /**
     * Opens the reports that are asked for beside metrics.jsonl, which every run writes.
     *
     * @param folder the run's output_dir, which exists
     */
    public static List<MetricsReport> open(Collection<ReportTarget> asked, Path folder) {
        List<MetricsReport> reports = new ArrayList<>();
        EnumSet<ReportTarget> once = EnumSet.noneOf(ReportTarget.class);
        once.addAll(asked);
        try {
            once.forEach(target -> open(target, folder).ifPresent(reports::add));
        } catch (RuntimeException | Error e) {
            reports.forEach(report -> Resources.closeAfter(e, report));
            throw e;
        }
        return List.copyOf(reports);
    }

    private static Optional<MetricsReport> open(ReportTarget target, Path folder) {
        return switch (target) {
            case JSONL -> Optional.empty(); // opened by the run, as its checkpoints hold a copy
            case TENSORBOARD -> Optional.of(TensorBoardReport.create(folder));
        };
    }
}
