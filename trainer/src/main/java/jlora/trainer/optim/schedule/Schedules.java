package jlora.trainer.optim.schedule;

import java.util.Map;

/** The learning-rate schedules by their Transformers names. A new one is one line here. */
public final class Schedules {
    private static final Map<String, Schedule> REGISTRY =
            Map.of(
                    "constant", (step, warmup, total) -> 1,
                    "constant_with_warmup", warm((step, warmup, total) -> 1),
                    "linear", warm(Schedules::linear),
                    "cosine", warm(Schedules::cosine));

    private Schedules() {}

    public static Schedule of(String name) {
        Schedule schedule = REGISTRY.get(name);
        if (schedule == null) {
            throw new IllegalArgumentException("no schedule is named " + name);
        }
        return schedule;
    }

    /**
     * Rises linearly from 0 over the warmup: the first step of a warmed-up run has learning rate 0.
     */
    private static Schedule warm(Schedule after) {
        return (step, warmup, total) ->
                step < warmup
                        ? (double) step / Math.max(1, warmup)
                        : after.factor(step, warmup, total);
    }

    private static double linear(long step, long warmup, long total) {
        return Math.max(0, (double) (total - step) / Math.max(1, total - warmup));
    }

    private static double cosine(long step, long warmup, long total) {
        double progress = (double) (step - warmup) / Math.max(1, total - warmup);
        return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
    }
}
