package jlora.trainer.launch;

import jlora.runtime.JloraException;

import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.IntStream;

/** The environment variables that launchers set, read strictly. */
final class RankVariables {
    /** What one launcher says. */
    record Place(int rank, int worldSize, int localRank, Ranks.Source source) {}

    private static final int LAST_PORT = 65_535;

    private final Map<String, String> environment;

    RankVariables(Map<String, String> environment) {
        this.environment = environment;
    }

    /** The whole of it, with where the workers meet. */
    Ranks ranks(Place place) {
        return new Ranks(
                place.rank,
                place.worldSize,
                place.localRank,
                restartCount(),
                address(place),
                port(),
                place.source);
    }

    private Optional<String> text(String name) {
        return Optional.ofNullable(environment.get(name))
                .map(String::strip)
                .filter(value -> !value.isEmpty());
    }

    private OptionalInt number(String name) {
        Optional<String> value = text(name);
        if (value.isEmpty()) {
            return OptionalInt.empty();
        }
        if (!value.get().matches("\\d{1,9}")) {
            throw JloraException.usage(
                    name
                            + " is '"
                            + value.get()
                            + "' in the environment, which is no number of a worker; correct it,"
                            + " or unset it to train with one worker.");
        }
        return OptionalInt.of(Integer.parseInt(value.get()));
    }

    private int required(String name, String beside) {
        return number(name)
                .orElseThrow(
                        () ->
                                JloraException.usage(
                                        beside
                                                + " is set in the environment, but "
                                                + name
                                                + " is not; set both, or neither to train with one"
                                                + " worker."));
    }

    private Place place(
            String rankName, int rank, String sizeName, int size, int local, Ranks.Source source) {
        if (size < 1 || rank >= size) {
            throw JloraException.usage(
                    rankName
                            + " is "
                            + rank
                            + " and "
                            + sizeName
                            + " "
                            + size
                            + " in the environment, but ranks are 0 to "
                            + sizeName
                            + " - 1; correct them, or unset both to train with one worker.");
        }
        return new Place(rank, size, local, source);
    }

    /** Both are set on purpose for this very process: where both are, they must agree. */
    Optional<Place> torchrunOrOpenMpi() {
        Optional<Place> torchrun = torchrun();
        Optional<Place> openMpi = openMpi();
        if (torchrun.isPresent() && openMpi.isPresent()) {
            requireSame("RANK", torchrun.get().rank, "OMPI_COMM_WORLD_RANK", openMpi.get().rank);
            requireSame(
                    "WORLD_SIZE",
                    torchrun.get().worldSize,
                    "OMPI_COMM_WORLD_SIZE",
                    openMpi.get().worldSize);
            return openMpi;
        }
        return torchrun.or(() -> openMpi);
    }

    private static void requireSame(String name, int value, String other, int otherValue) {
        if (value != otherValue) {
            throw JloraException.usage(
                    name
                            + " is "
                            + value
                            + ", but "
                            + other
                            + " is "
                            + otherValue
                            + " in the environment; unset the one that is wrong.");
        }
    }

    private Optional<Place> torchrun() {
        OptionalInt rank = number("RANK");
        OptionalInt size = number("WORLD_SIZE");
        if (rank.isEmpty() && size.isEmpty()) {
            if (number("LOCAL_RANK").isPresent()) {
                required("RANK", "LOCAL_RANK");
            }
            return Optional.empty();
        }
        int one = required("RANK", "WORLD_SIZE");
        int all = required("WORLD_SIZE", "RANK");
        // Kubeflow's older jobs set the first two for a pod of one worker.
        boolean oneHere = all == 1 || number("OMPI_COMM_WORLD_LOCAL_RANK").isPresent();
        int local =
                oneHere || text("PET_NODE_RANK").isPresent() && workersOfNode() == 1
                        ? number("LOCAL_RANK").orElse(0)
                        : required("LOCAL_RANK", "RANK");
        return Optional.of(place("RANK", one, "WORLD_SIZE", all, local, Ranks.Source.TORCHRUN));
    }

    private Optional<Place> openMpi() {
        String rank = "OMPI_COMM_WORLD_RANK";
        String size = "OMPI_COMM_WORLD_SIZE";
        String local = "OMPI_COMM_WORLD_LOCAL_RANK";
        if (number(rank).isEmpty() && number(size).isEmpty()) {
            return Optional.empty();
        }
        return Optional.of(
                place(
                        rank,
                        required(rank, size),
                        size,
                        required(size, rank),
                        required(local, rank),
                        Ranks.Source.OPEN_MPI));
    }

    /** A pod of Kubeflow's trainer, one worker in each. */
    Optional<Place> kubeflow() {
        String rank = "PET_NODE_RANK";
        String size = "PET_NNODES";
        if (text(rank).isEmpty() && text(size).isEmpty()) {
            return Optional.empty();
        }
        int workers = workersOfNode();
        if (workers != 1) {
            throw JloraException.usage(
                    "PET_NPROC_PER_NODE is "
                            + workers
                            + ", but jlora is one worker in each pod; ask for one process and one"
                            + " GPU a node, and for more nodes.");
        }
        return Optional.of(
                place(
                        rank,
                        required(rank, size),
                        size,
                        required(size, rank),
                        0,
                        Ranks.Source.KUBEFLOW));
    }

    /** Words such as auto and gpu mean all GPUs of a pod, which should be one. */
    private int workersOfNode() {
        boolean word = text("PET_NPROC_PER_NODE").filter(v -> v.matches("[a-z]+")).isPresent();
        return word ? 1 : number("PET_NPROC_PER_NODE").orElse(1);
    }

    /**
     * A pod of an indexed job. Such jobs also serve for runs that have nothing to do with each
     * other, so only our own variable makes workers of them.
     */
    Optional<Place> kubernetes() {
        String rank = "JOB_COMPLETION_INDEX";
        String size = "JLORA_WORLD_SIZE";
        OptionalInt all = number(size);
        if (all.isEmpty()) {
            return Optional.empty();
        }
        return Optional.of(
                place(
                        rank,
                        required(rank, size),
                        size,
                        all.getAsInt(),
                        0,
                        Ranks.Source.KUBERNETES));
    }

    /**
     * A task that srun started. The script of a batch job has SLURM_PROCID 0 and the job's number
     * of tasks too, but is no task.
     */
    Optional<Place> slurm() {
        if (text("SLURM_JOB_ID").isEmpty() && text("SLURM_PROCID").isEmpty()) {
            return Optional.empty();
        }
        boolean task = text("SLURM_STEP_ID").or(() -> text("SLURM_STEPID")).isPresent();
        OptionalInt tasks = number("SLURM_NTASKS");
        if (!task) {
            if (tasks.orElse(1) > 1) {
                throw JloraException.usage(
                        "SLURM_NTASKS is "
                                + tasks.getAsInt()
                                + ", but this process was started by the job's script itself and"
                                + " would train alone; write `srun jlora train ...` for "
                                + tasks.getAsInt()
                                + " workers, or ask for --ntasks=1 (and --cpus-per-task) for one.");
            }
            return Optional.empty();
        }
        OptionalInt ofStep = number("SLURM_STEP_NUM_TASKS");
        String size = ofStep.isPresent() ? "SLURM_STEP_NUM_TASKS" : "SLURM_NTASKS";
        return Optional.of(
                place(
                        "SLURM_PROCID",
                        required("SLURM_PROCID", "SLURM_STEP_ID"),
                        size,
                        required(size, "SLURM_PROCID"),
                        required("SLURM_LOCALID", "SLURM_PROCID"),
                        Ranks.Source.SLURM));
    }

    /** Whoever started the run again says so, whoever started this process. */
    int restartCount() {
        return IntStream.of(
                        number("TORCHELASTIC_RESTART_COUNT").orElse(0),
                        number("SLURM_RESTART_COUNT").orElse(0),
                        number("JOBSET_RESTART_ATTEMPT").orElse(0))
                .max()
                .orElseThrow();
    }

    private Optional<String> address(Place place) {
        return text("MASTER_ADDR")
                .or(() -> text("PET_MASTER_ADDR"))
                .or(() -> place.source == Ranks.Source.SLURM ? firstHost() : Optional.empty())
                .or(
                        () ->
                                number("OMPI_COMM_WORLD_LOCAL_SIZE").orElse(0) == place.worldSize
                                        ? Optional.of("127.0.0.1")
                                        : Optional.empty());
    }

    /**
     * The first of {@code node[01-04,7],other}: rank 0 is there unless tasks were placed by hand.
     */
    private Optional<String> firstHost() {
        return text("SLURM_STEP_NODELIST")
                .or(() -> text("SLURM_JOB_NODELIST"))
                .map(
                        hosts -> {
                            int bracket = hosts.indexOf('[');
                            int comma = hosts.indexOf(',');
                            if (bracket < 0 || comma >= 0 && comma < bracket) {
                                return comma < 0 ? hosts : hosts.substring(0, comma);
                            }
                            String first =
                                    Arrays.stream(hosts.substring(bracket + 1).split("[-,\\]]"))
                                            .findFirst()
                                            .orElse("");
                            return hosts.substring(0, bracket) + first;
                        });
    }

    private int port() {
        String name = text("MASTER_PORT").isPresent() ? "MASTER_PORT" : "PET_MASTER_PORT";
        int port = number(name).orElse(Ranks.DEFAULT_PORT);
        // torchrun's own agent listens where it tells its workers to meet.
        boolean taken = text("TORCHELASTIC_USE_AGENT_STORE").filter("True"::equals).isPresent();
        int ours = taken ? port + 1 : port;
        if (port < 1 || ours > LAST_PORT) {
            throw JloraException.usage(
                    name
                            + " is "
                            + port
                            + " in the environment; ports are 1 to "
                            + LAST_PORT
                            + ".");
        }
        return ours;
    }
}
