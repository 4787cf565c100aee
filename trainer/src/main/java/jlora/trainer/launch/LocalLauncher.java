package jlora.trainer.launch;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.config.Purpose;

import picocli.CommandLine.Option;

import java.io.File;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * Workers on this machine: on GPUs one process each, joined by torchrun's variables; on CPUs by
 * {@code mpirun}.
 */
final class LocalLauncher implements Launcher {
    /** What would tell a worker another rank than the one it gets here. */
    private static final List<String> RANKS_OF_OTHERS =
            List.of(
                    "JOB_COMPLETION_INDEX",
                    "JLORA_WORLD_SIZE",
                    "PET_NNODES",
                    "PET_NPROC_PER_NODE",
                    "PET_NODE_RANK",
                    "PET_MASTER_ADDR",
                    "PET_MASTER_PORT",
                    "RANK",
                    "LOCAL_RANK",
                    "WORLD_SIZE",
                    "LOCAL_WORLD_SIZE",
                    "MASTER_ADDR",
                    "MASTER_PORT");

    @Option(
            names = "--nodes",
            paramLabel = "N",
            defaultValue = "1",
            description =
                    "Machines of the job, each of which runs this command with its own --node-rank;"
                            + " GPUs only. Default: ${DEFAULT-VALUE}.")
    private int nodes;

    @Option(
            names = "--node-rank",
            paramLabel = "R",
            defaultValue = "0",
            description =
                    "Which of the --nodes this machine is, from 0. Default: ${DEFAULT-VALUE}.")
    private int nodeRank;

    @Option(
            names = "--master-addr",
            paramLabel = "HOST",
            defaultValue = "127.0.0.1",
            description = "Where rank 0 is reached. Default: ${DEFAULT-VALUE}.")
    private String masterAddress;

    @Option(
            names = "--master-port",
            paramLabel = "PORT",
            description = "Port of rank 0. Default: a free one; with several --nodes 29500.")
    private Optional<Integer> masterPort = Optional.empty();

    @Option(
            names = "--jlora",
            paramLabel = "FILE",
            description = "The jlora program that workers run. Default: this one.")
    private Optional<Path> program = Optional.empty();

    @Override
    public String name() {
        return "local";
    }

    @Override
    public String description() {
        return "Runs workers on this machine: on GPUs one process per GPU, on CPUs by mpirun. Ends"
                + " with the exit code of the first worker that failed, and with 75 if none did and"
                + " the job was preempted.";
    }

    @Override
    public Purpose needs() {
        return Purpose.TRAIN;
    }

    @Override
    public boolean here() {
        return true;
    }

    @Override
    public int workersPerNode(int workers, boolean gpu) {
        if (nodes < 1 || workers % nodes != 0 || nodeRank < 0 || nodeRank >= nodes) {
            throw JloraException.usage(
                    "--workers "
                            + workers
                            + " on --nodes "
                            + nodes
                            + " with --node-rank "
                            + nodeRank
                            + " does not describe a job; workers spread evenly, and ranks go from 0"
                            + " to "
                            + (nodes - 1)
                            + ".");
        }
        if (nodes > 1 && !gpu) {
            throw JloraException.usage(
                    "--nodes "
                            + nodes
                            + " is for GPUs; workers on the CPUs of several machines are joined by"
                            + " Open MPI: use jlora launch slurm, or mpirun with a list of hosts.");
        }
        return workers / nodes;
    }

    @Override
    public int launch(LaunchPlan plan, Console console) {
        List<String> command = new ArrayList<>(JloraProgram.command(program));
        command.addAll(plan.words());
        boolean mpi = !plan.gpu() && plan.layout().workers() > 1;
        if (!plan.gpu() && !plan.config().isSet("cpu_threads")) {
            int share = Runtime.getRuntime().availableProcessors() / plan.layout().perNode();
            command.add("cpu_threads=" + Math.max(1, share));
        }
        console.note("jlora launch: " + plan.summary());
        try {
            Path marks = console.dryRun() ? Path.of("MARKS") : Files.createTempDirectory("jlora-");
            List<Start> starts =
                    mpi ? List.of(mpirun(plan, command, marks)) : processes(plan, command, marks);
            if (console.dryRun()) {
                starts.forEach(start -> console.out().println(start.text()));
                console.out().flush();
                return ExitCode.DONE.code();
            }
            try {
                return run(starts, mpi, marks);
            } finally {
                delete(marks);
            }
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.USAGE,
                    "the workers could not be started (" + e.getMessage() + ").",
                    e);
        }
    }

    /**
     * One process to start.
     *
     * @param environment what it has beyond this process's
     */
    private record Start(List<String> command, Map<String, String> environment) {
        String text() {
            StringBuilder line = new StringBuilder();
            environment.forEach((k, v) -> line.append(k + "=" + Shell.quote(v) + " "));
            return line + Shell.quote(command);
        }
    }

    private Start mpirun(LaunchPlan plan, List<String> command, Path marks) throws IOException {
        int workers = plan.layout().workers();
        Path mpirun = Tool.find("mpirun", "install Open MPI (apt-get install openmpi-bin)").path();
        List<String> words = new ArrayList<>(List.of(mpirun.toString()));
        if (Files.getAttribute(Path.of("/proc/self"), "unix:uid").equals(0)) {
            words.add("--allow-run-as-root");
        }
        if (workers > Runtime.getRuntime().availableProcessors()) {
            words.add("--oversubscribe");
        }
        // Each worker's threads are its own matter, and hardware threads count as processors.
        words.addAll(List.of("--use-hwthread-cpus", "--bind-to", "none"));
        words.addAll(List.of("-n", String.valueOf(workers), "bash", "-c", RankScript.TEXT));
        words.addAll(RankScript.arguments(marks.toString()));
        words.addAll(command);
        return new Start(words, Map.of("JLORA_NO_BUILD", "1"));
    }

    private List<Start> processes(LaunchPlan plan, List<String> command, Path marks)
            throws IOException {
        Layout layout = plan.layout();
        int port = masterPort.isPresent() ? masterPort.get() : nodes > 1 ? 29500 : freePort();
        List<Start> starts = new ArrayList<>();
        for (int local = 0; local < layout.perNode(); local++) {
            int rank = nodeRank * layout.perNode() + local;
            Map<String, String> environment = new TreeMap<>();
            environment.put("JLORA_NO_BUILD", "1");
            environment.put(TerminationLog.VARIABLE, marks.resolve("rank-" + rank + ".json") + "");
            if (layout.workers() > 1) {
                environment.put("RANK", String.valueOf(rank));
                environment.put("LOCAL_RANK", String.valueOf(local));
                environment.put("WORLD_SIZE", String.valueOf(layout.workers()));
                environment.put("LOCAL_WORLD_SIZE", String.valueOf(layout.perNode()));
                environment.put("MASTER_ADDR", masterAddress);
                environment.put("MASTER_PORT", String.valueOf(port));
            }
            starts.add(new Start(command, environment));
        }
        return starts;
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }

    private int run(List<Start> starts, boolean mpi, Path marks) throws IOException {
        List<String> alone = ownGroup();
        Workers workers = new Workers(mpi ? PosixSignal.USR1 : PosixSignal.TERM);
        try {
            for (Start start : starts) {
                List<String> words = new ArrayList<>(alone);
                words.addAll(start.command());
                ProcessBuilder builder =
                        new ProcessBuilder(words).inheritIO().redirectInput(new File("/dev/null"));
                builder.environment().keySet().removeAll(RANKS_OF_OTHERS);
                builder.environment().putAll(start.environment());
                workers.add(builder.start());
            }
            return result(workers.await(), marks);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return ExitCode.INTERRUPTED.code();
        } finally {
            workers.kill();
        }
    }

    /**
     * A session of its own keeps a terminal's signals away: they would come twice, and the second
     * one means at once. Should this process die, its workers are told to stop.
     */
    private static List<String> ownGroup() {
        String fix = "install util-linux, which has it";
        return List.of(
                Tool.find("setsid", fix).path().toString(),
                Tool.find("setpriv", fix).path().toString(),
                "--pdeathsig",
                "TERM");
    }

    /** Reads what workers left behind: that they were preempted, and why one failed. */
    private static int result(int code, Path marks) throws IOException {
        List<Path> files;
        try (Stream<Path> found = Files.list(marks)) {
            files = found.sorted().toList();
        }
        Path failed = marks.resolve("failed");
        boolean preempted =
                files.stream().anyMatch(f -> f.getFileName().toString().startsWith("preempted-"));
        int result;
        if (Files.exists(failed)) {
            result = Integer.parseInt(Files.readString(failed).strip());
        } else {
            result = code == 0 && preempted ? ExitCode.PREEMPTED.code() : code;
        }
        String wanted = "\"exit_code\":" + result + ",";
        for (Path file : files) {
            if (Files.readString(file).contains(wanted)) {
                TerminationLog.adopt(file);
                break;
            }
        }
        return result;
    }

    private static void delete(Path folder) throws IOException {
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(file);
            }
        }
    }
}
