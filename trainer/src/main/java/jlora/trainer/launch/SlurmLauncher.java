package jlora.trainer.launch;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.config.Purpose;

import picocli.CommandLine.Option;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Submits a batch job to Slurm, which puts it back into the queue when it is preempted. */
final class SlurmLauncher implements Launcher {
    @Option(
            names = {"--workers-per-node", "--gpus-per-node"},
            paramLabel = "N",
            description =
                    "Workers on one node. Default: all of them, on GPUs at most 8; on GPUs that is"
                            + " also the number of GPUs asked for.")
    private Optional<Integer> perNode = Optional.empty();

    @Option(names = "--partition", paramLabel = "NAME", description = "Partition.")
    private Optional<String> partition = Optional.empty();

    @Option(names = "--account", paramLabel = "NAME", description = "Account that pays.")
    private Optional<String> account = Optional.empty();

    @Option(names = "--qos", paramLabel = "NAME", description = "Quality of service.")
    private Optional<String> qos = Optional.empty();

    @Option(names = "--constraint", paramLabel = "EXPRESSION", description = "Features of nodes.")
    private Optional<String> constraint = Optional.empty();

    @Option(
            names = "--time",
            paramLabel = "TIME",
            description =
                    "Time limit, as sbatch takes it; --grace before it the job stops with a"
                            + " checkpoint and goes on in the next one.")
    private Optional<String> time = Optional.empty();

    @Option(names = "--job-name", paramLabel = "NAME", description = "Default: that of output_dir.")
    private Optional<String> jobName = Optional.empty();

    @Option(
            names = "--cpus",
            paramLabel = "N",
            description = "CPUs of each worker. Default: cpu_threads if it is set, else 4.")
    private Optional<Integer> cpus = Optional.empty();

    @Option(
            names = "--grace",
            paramLabel = "SECONDS",
            description = "From the signal to the end. Default: 300, or what --step-seconds needs.")
    private Optional<Integer> grace = Optional.empty();

    @Option(
            names = "--step-seconds",
            paramLabel = "SECONDS",
            description =
                    "How long an optimizer step takes; --grace becomes two of them and a"
                            + " checkpoint, and is refused if it is less.")
    private Optional<Double> stepSeconds = Optional.empty();

    @Option(
            names = "--sbatch",
            paramLabel = "OPTION",
            description =
                    "Another line for #SBATCH, such as --sbatch=--exclusive; may be repeated.")
    private List<String> extra = new ArrayList<>();

    @Option(
            names = "--jlora",
            paramLabel = "FILE",
            description = "The jlora program on the nodes. Default: this one.")
    private Optional<Path> program = Optional.empty();

    @Override
    public String name() {
        return "slurm";
    }

    @Override
    public String description() {
        return "Writes a batch script for Slurm and submits it with sbatch. A job that is preempted"
                + " or reaches its time limit stops with a checkpoint, goes back into the queue"
                + " and goes on from there; output_dir has to be on a file system that all nodes"
                + " share.";
    }

    @Override
    public Purpose needs() {
        return Purpose.TRAIN;
    }

    @Override
    public boolean here() {
        return false;
    }

    @Override
    public int workersPerNode(int workers, boolean gpu) {
        return perNode.orElse(gpu ? Math.min(workers, 8) : workers);
    }

    @Override
    public int launch(LaunchPlan plan, Console console) {
        LaunchFolder folder = new LaunchFolder(plan.output());
        String script = SlurmScript.of(plan, settings(plan), folder);
        console.note("jlora launch: " + plan.summary());
        if (console.dryRun()) {
            console.out().print(script);
            console.out().flush();
            return ExitCode.DONE.code();
        }
        Tool sbatch =
                Tool.find(
                        "sbatch",
                        "launch where Slurm's commands are, or add --dry-run to see the script");
        folder.write("config.yaml", plan.config().toYaml());
        Path file = folder.write("job.sbatch", script);
        sbatch.run(console, "", file.toString());
        console.note("jlora launch: script " + file + ", log " + folder.file("slurm-JOB.out"));
        return ExitCode.DONE.code();
    }

    private SlurmSettings settings(LaunchPlan plan) {
        int each = cpus.or(() -> plan.config().model().cpuThreads()).orElse(4);
        if (each < 1) {
            throw JloraException.usage("--cpus is " + each + "; a worker has at least 1.");
        }
        return new SlurmSettings(
                jobName.orElse(plan.output().toAbsolutePath().normalize().getFileName() + ""),
                partition,
                account,
                qos,
                time,
                constraint,
                each,
                GracePeriod.seconds(grace, stepSeconds, plan.trained()),
                Path.of(JloraProgram.command(program).getFirst()),
                extra);
    }
}
