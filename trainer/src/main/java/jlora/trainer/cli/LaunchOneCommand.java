package jlora.trainer.cli;

import jlora.runtime.JloraException;
import jlora.trainer.config.ByteSize;
import jlora.trainer.config.RunConfig;
import jlora.trainer.launch.Console;
import jlora.trainer.launch.LaunchPlan;
import jlora.trainer.launch.Launcher;
import jlora.trainer.launch.WorkerMemory;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

import java.util.Optional;
import java.util.concurrent.Callable;

/** One way to launch; its own options come from the launcher. */
@Command(mixinStandardHelpOptions = true)
final class LaunchOneCommand implements Callable<Integer> {
    private final Launcher launcher;

    @Mixin private RunOptions run;

    @Option(
            names = "--workers",
            paramLabel = "N",
            defaultValue = "1",
            description =
                    "Processes that train together, on GPUs one for each GPU. Default:"
                            + " ${DEFAULT-VALUE}.")
    private int workers;

    @Option(
            names = "--dry-run",
            description = "Print what would be submitted or run, and do nothing.")
    private boolean dryRun;

    @Option(
            names = "--device",
            paramLabel = "NAME",
            description =
                    "Device of each worker, which need not be here: cpu, h200, h100, b200, a100,"
                        + " l40s, …; needed where the job runs elsewhere, unless device is cpu.")
    private Optional<String> device = Optional.empty();

    @Option(
            names = "--node-memory",
            paramLabel = "SIZE",
            description = "Host memory of one machine, such as 256GiB: what needs more is refused.")
    private Optional<String> nodeMemory = Optional.empty();

    @Option(
            names = "--heap",
            paramLabel = "SIZE",
            description =
                    "Java heap of each worker, which holds the tokenised rows at 8 bytes a token."
                            + " Default: 2GiB.")
    private Optional<String> heap = Optional.empty();

    @Spec private CommandSpec spec;

    LaunchOneCommand(Launcher launcher) {
        this.launcher = launcher;
    }

    @Override
    public Integer call() {
        RunConfig config = run.load();
        RunConfig planned = run.load(launcher.planningWords());
        planned.require(launcher.needs());
        if (config.output().outputDir().isEmpty()) {
            throw JloraException.usage(
                    "configuration: output_dir is missing; it names the folder for the results, in"
                            + " the YAML file or as --output_dir");
        }
        LaunchPlan plan =
                LaunchPlan.of(
                        config,
                        planned,
                        run.words(),
                        workers,
                        new LaunchPlan.Machine(
                                device,
                                nodeMemory.map(size -> bytes("--node-memory", size)),
                                heap.map(size -> bytes("--heap", size)).orElse(WorkerMemory.HEAP)),
                        launcher);
        return launcher.launch(
                plan,
                new Console(dryRun, spec.commandLine().getOut(), spec.commandLine().getErr()));
    }

    private static long bytes(String option, String text) {
        return ByteSize.parse(text)
                .map(ByteSize::bytes)
                .orElseThrow(
                        () ->
                                JloraException.usage(
                                        option + " " + text + " is not a size such as 8GiB."));
    }
}
