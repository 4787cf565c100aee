package jlora.trainer.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.trainer.bench.BenchReport;
import jlora.trainer.bench.BenchRun;
import jlora.trainer.bench.Ceilings;
import jlora.trainer.bench.MergeBench;
import jlora.trainer.config.RunConfig;

import picocli.CommandLine.Command;

@Command(
        name = "merge",
        description =
                "Milliseconds to merge an adapter into its weights, to take it off to the bit,"
                        + " and to switch adapters.",
        mixinStandardHelpOptions = true)
final class BenchMergeCommand extends Bench {
    @Override
    ObjectNode measure(Backend backend, RunConfig config, DType dtype, BenchReport report) {
        Ceilings ceilings = Ceilings.measure(backend, dtype);
        try (BenchRun run = BenchRun.open(backend, config)) {
            MergeBench merge = MergeBench.of(run);
            print(report.mergeTable(merge, ceilings));
            return report.json(merge, ceilings);
        }
    }
}
