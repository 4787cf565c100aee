package jlora.trainer.launch;

import jlora.runtime.JloraException;

import java.util.Map;
import java.util.Optional;

/**
 * This process's place among the workers of a run, as whoever started it says in the environment.
 *
 * @param rank from 0
 * @param worldSize workers of the run
 * @param localRank number among the workers of this machine, from 0
 * @param restartCount how often the scheduler has started the run again
 * @param masterAddress machine of rank 0, where somebody named it
 * @param masterPort where rank 0 listens there
 */
public record Ranks(
        int rank,
        int worldSize,
        int localRank,
        int restartCount,
        Optional<String> masterAddress,
        int masterPort,
        Source source) {
    /** Who said it. */
    public enum Source {
        /** Nobody: one worker. */
        ALONE("no launcher"),
        TORCHRUN("RANK and WORLD_SIZE"),
        OPEN_MPI("mpirun"),
        SLURM("srun"),
        KUBERNETES("an indexed Kubernetes job"),
        KUBEFLOW("Kubeflow");

        private final String label;

        Source(String label) {
            this.label = label;
        }

        public String label() {
            return label;
        }
    }

    /** torchrun's default. */
    static final int DEFAULT_PORT = 29_500;

    public Ranks {
        if (worldSize < 1 || rank < 0 || rank >= worldSize || localRank < 0 || restartCount < 0) {
            throw new IllegalArgumentException("rank " + rank + " of " + worldSize);
        }
    }

    /** The variables of this process; values that contradict each other are exit code 2. */
    public static Ranks ofThisProcess() {
        return of(System.getenv());
    }

    /**
     * The innermost launcher counts: mpirun inside of a Slurm job, or torchrun inside of one of its
     * tasks, sets variables of its own beside Slurm's.
     */
    public static Ranks of(Map<String, String> environment) {
        RankVariables variables = new RankVariables(environment);
        Optional<RankVariables.Place> place =
                variables
                        .torchrunOrOpenMpi()
                        .or(variables::kubeflow)
                        .or(variables::kubernetes)
                        .or(variables::slurm);
        return place.map(variables::ranks)
                .orElseGet(
                        () ->
                                new Ranks(
                                        0,
                                        1,
                                        0,
                                        variables.restartCount(),
                                        Optional.empty(),
                                        DEFAULT_PORT,
                                        Source.ALONE));
    }

    /** Whether this worker speaks and writes files. */
    public boolean first() {
        return rank == 0;
    }

    /** Whether there are others. */
    public boolean several() {
        return worldSize > 1;
    }

    /** A failure of this worker, in words that tell whose it is. */
    public JloraException named(JloraException failure) {
        return several()
                ? new JloraException(
                        failure.exitCode(), "rank " + rank + ": " + failure.getMessage(), failure)
                : failure;
    }
}
