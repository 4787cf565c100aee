package jlora.trainer.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.trainer.bench.BenchReport;
import jlora.trainer.bench.BenchRun;
import jlora.trainer.bench.Ceilings;
import jlora.trainer.bench.KernelBench;
import jlora.trainer.bench.KernelRow;
import jlora.trainer.config.RunConfig;

import picocli.CommandLine.Command;

import java.util.List;

@Command(
        name = "memory",
        description =
                "Bytes per second of every kernel that memory limits, against a measured copy.",
        mixinStandardHelpOptions = true)
final class BenchMemoryCommand extends Bench {
    @Override
    ObjectNode measure(Backend backend, RunConfig config, DType dtype, BenchReport report) {
        Ceilings ceilings = Ceilings.measure(backend, dtype);
        try (BenchRun run = BenchRun.open(backend, config)) {
            List<KernelRow> rows = KernelBench.rows(run);
            print(report.memoryTable(rows, ceilings));
            return report.json(ceilings, rows);
        }
    }
}
