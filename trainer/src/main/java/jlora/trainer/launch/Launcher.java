package jlora.trainer.launch;

import jlora.trainer.config.Purpose;

import java.util.List;

/**
 * Starts a job in one way. An instance is for one command line: picocli fills its options in. What
 * it starts is planned before, and fits.
 */
public interface Launcher {
    /** The word after {@code jlora launch}. */
    String name();

    /** What it does, in one sentence for {@code --help}. */
    String description();

    /** What has to be here, on the machine that launches. */
    Purpose needs();

    /**
     * Whether workers run on this machine, so that its device and its memory are theirs; else they
     * run on machines that the plan only hears of.
     */
    boolean here();

    /** Words of configuration that hold while planning alone. */
    default List<String> planningWords() {
        return List.of();
    }

    /**
     * How many workers share one machine and its host memory.
     *
     * @param workers of the whole job
     * @param gpu whether each has a GPU
     */
    int workersPerNode(int workers, boolean gpu);

    /**
     * Writes what the job needs and starts it, or with {@code --dry-run} only shows it.
     *
     * @return the exit code of the launching process
     */
    int launch(LaunchPlan plan, Console console);
}
