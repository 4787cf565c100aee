package jlora.trainer.cli;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.Json;
import jlora.trainer.config.Purpose;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.Backends;
import jlora.trainer.job.Device;
import jlora.trainer.job.PlanJob;
import jlora.trainer.job.PlanTable;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.concurrent.Callable;

@Command(
        name = "plan",
        description = {
            "Tells what a run needs: memory by line item, and arithmetic. Reads config.json alone,"
                    + " no weights and no data; the batch is the largest that the configuration"
                    + " allows.",
            "Exit code 4 when the run does not fit the device."
        },
        mixinStandardHelpOptions = true)
final class PlanCommand implements Callable<Integer> {
    @Mixin private RunOptions run;

    @Option(
            names = "--device",
            paramLabel = "NAME",
            description =
                    "Device to plan for, which need not be here: cpu, h200, h100, b200, a100, l40s,"
                            + " rtx4090, …")
    private Optional<String> device = Optional.empty();

    @Option(
            names = "--workers",
            paramLabel = "N",
            description =
                    "Plan for one of N workers that train together, with what they exchange;"
                            + " shard_base divides the base among them.")
    private int workers = 1;

    @Option(names = "--json", description = "Print the plan as JSON.")
    private boolean json;

    @Spec private CommandSpec spec;

    @Override
    public Integer call() {
        RunConfig config = run.load(Purpose.PLAN);
        String name = device.orElse("cpu");
        Device known = name.equals("cpu") ? Device.cpu() : Device.of(name);
        Device target = Backends.limited(config, known);
        PlanJob job = new PlanJob(config, target, requireWorkers());
        PlanTable table = job.table();
        PrintWriter out = spec.commandLine().getOut();
        out.print(
                json
                        ? new String(Json.pretty(table.json()), StandardCharsets.UTF_8) + "\n"
                        : table.text());
        out.flush();
        if (!job.fits()) {
            throw new JloraException(ExitCode.OUT_OF_MEMORY, job.advice());
        }
        job.requireOffload();
        return ExitCode.DONE.code();
    }

    private int requireWorkers() {
        if (workers < 1) {
            throw JloraException.usage("--workers " + workers + " is not a number from 1.");
        }
        return workers;
    }
}
