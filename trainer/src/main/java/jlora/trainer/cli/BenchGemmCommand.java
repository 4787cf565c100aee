package jlora.trainer.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.trainer.bench.BenchReport;
import jlora.trainer.bench.BenchRun;
import jlora.trainer.bench.Ceilings;
import jlora.trainer.bench.KernelBench;
import jlora.trainer.bench.KernelRow;
import jlora.trainer.bench.LinearBench;
import jlora.trainer.config.RunConfig;

import picocli.CommandLine.Command;

import java.util.List;

@Command(
        name = "gemm",
        description =
                "FLOP per second of every kernel that arithmetic limits, against a measured"
                        + " square product, and what adapters add to the frozen products.",
        mixinStandardHelpOptions = true)
final class BenchGemmCommand extends Bench {
    @Override
    ObjectNode measure(Backend backend, RunConfig config, DType dtype, BenchReport report) {
        Ceilings ceilings = Ceilings.measure(backend, dtype);
        try (BenchRun run = BenchRun.open(backend, config)) {
            List<KernelRow> rows = KernelBench.rows(run);
            LinearBench linears = LinearBench.of(run, rows);
            print(report.productTable(rows, linears, ceilings));
            return report.json(ceilings, rows)
                    .put("lora_linear_milliseconds", linears.loraMilliseconds())
                    .put("frozen_linear_milliseconds", linears.frozenMilliseconds());
        }
    }
}
