package jlora.trainer.optim.schedule;

/** How the learning rate moves over a run, as a factor of its peak. */
@FunctionalInterface
public interface Schedule {
    /**
     * @param step optimizer steps done before this one, from 0
     * @param warmup steps of the warmup
     * @param total steps of the run
     * @return the factor of the learning rate, as Transformers' {@code get_scheduler} gives it
     */
    double factor(long step, long warmup, long total);
}
