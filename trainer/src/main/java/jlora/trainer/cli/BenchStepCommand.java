package jlora.trainer.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.trainer.bench.BenchReport;
import jlora.trainer.bench.BenchRun;
import jlora.trainer.bench.StepBench;
import jlora.trainer.bench.StepMemoryUse;
import jlora.trainer.config.RunConfig;

import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

@Command(
        name = "step",
        description =
                "Tokens per second of whole optimizer steps, and planned against real memory.",
        mixinStandardHelpOptions = true)
final class BenchStepCommand extends Bench {
    @Option(
            names = "--warmup",
            paramLabel = "N",
            defaultValue = "3",
            description = "Steps before the timed ones (default ${DEFAULT-VALUE}).")
    private int warmup;

    @Option(
            names = "--steps",
            paramLabel = "N",
            defaultValue = "10",
            description = "Timed steps (default ${DEFAULT-VALUE}).")
    private int steps;

    @Override
    ObjectNode measure(Backend backend, RunConfig config, DType dtype, BenchReport report) {
        if (warmup < 1 || steps < 1) {
            throw JloraException.usage(
                    "--warmup "
                            + warmup
                            + " --steps "
                            + steps
                            + ": give at least 1 warm-up step and 1 timed step");
        }
        try (BenchRun run = BenchRun.open(backend, config)) {
            StepBench step = StepBench.of(run, warmup, steps);
            StepMemoryUse memory =
                    new StepMemoryUse(run.job().plan().totalBytes(), backend.usedBytes());
            double flops = run.modelFlops();
            print(report.stepTable(step, memory, flops));
            return report.json(step, memory, flops);
        }
    }
}
