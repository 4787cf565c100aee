package jlora.trainer.cli;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

@Command(
        name = "bench",
        description = {
            "Measures this machine with a model's own training step, over random weights and random"
                    + " tokens; a folder with a config.json is enough.",
            "How to read the tables: benchmarks/README.md."
        },
        mixinStandardHelpOptions = true,
        subcommands = {
            BenchMemoryCommand.class,
            BenchGemmCommand.class,
            BenchStepCommand.class,
            BenchMergeCommand.class
        })
final class BenchCommand implements Runnable {
    @Spec private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(
                spec.commandLine(), "a benchmark is missing: memory, gemm, step or merge");
    }
}
