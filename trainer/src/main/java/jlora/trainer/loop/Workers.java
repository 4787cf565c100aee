package jlora.trainer.loop;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Collective;
import jlora.runtime.plan.Plan;

import java.util.function.BooleanSupplier;

/**
 * This process's part of a run that several share. All workers know all batches; of every row of
 * them each takes the ones that are its own. So what one worker would train in one step with {@code
 * ranks} times as many accumulation steps, all of them train together, and each knows the trained
 * tokens of the whole step without asking.
 *
 * @param collective what joins the workers
 * @param microBatches of a step, those of all workers together
 * @param wantsToStop asked once before each step: when any worker's says yes, all of them learn it
 *     with that step's results
 */
public record Workers(Collective collective, int microBatches, BooleanSupplier wantsToStop) {
    /** Batches that a worker evaluates before it hears of the others. */
    private static final int EVALUATION_ROUND = 16;

    /** Whether a batch, by its number in the step or in the evaluation, is this worker's. */
    boolean own(int batch) {
        return batch % collective.ranks() == collective.rank();
    }

    /**
     * Takes part in the passes of workers that have one batch more than this one, as far as they
     * need it: what they gather of frozen layers.
     *
     * @param batches of all workers, in rows of one for each
     * @param own how many of them were this worker's
     */
    void sitOut(int batches, int own, Plan like, Backend backend) {
        for (int i = own; i < Math.ceilDiv(batches, collective.ranks()); i++) {
            like.runExpansions(backend);
        }
    }

    /** The losses of a step. */
    SharedLosses stepLosses(Session session) {
        return new SharedLosses(session, collective, "losses of a step", microBatches);
    }

    /** The losses of one round of an evaluation. */
    SharedLosses evaluationLosses(Session session) {
        return new SharedLosses(
                session,
                collective,
                "losses of an evaluation",
                EVALUATION_ROUND * collective.ranks());
    }
}
