package jlora.trainer.launch;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * What Slurm is asked for beside the plan's own needs.
 *
 * @param jobName as queues show it
 * @param cpus of each worker
 * @param grace seconds from the signal to the end
 * @param program that workers run
 * @param extra lines for {@code #SBATCH}, as they are
 */
public record SlurmSettings(
        String jobName,
        Optional<String> partition,
        Optional<String> account,
        Optional<String> qos,
        Optional<String> time,
        Optional<String> constraint,
        int cpus,
        int grace,
        Path program,
        List<String> extra) {
    public SlurmSettings {
        extra = List.copyOf(extra);
    }
}
