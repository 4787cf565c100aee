package jlora.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.config.OnNonfinite;
import jlora.trainer.loop.TrainEngine.StepResult;

import org.junit.jupiter.api.Test;

class NonfinitePolicyTest {
    private static final StepResult GOOD = new StepResult(2.5, new float[] {1, 2}, false);

    private static StepResult bad(double loss, float... norms) {
        return new StepResult(loss, norms, false);
    }

    @Test
    void anAppliedStepEndsARow() {
        NonfinitePolicy policy = new NonfinitePolicy(OnNonfinite.SKIP, 3);
        assertTrue(policy.skips(1, bad(Double.NaN, Float.NaN)));
        assertTrue(policy.skips(2, bad(2.5, 1, Float.POSITIVE_INFINITY)));
        assertFalse(policy.skips(3, GOOD));
        assertEquals(new NonfinitePolicy.Counts(2, 0), policy.counts());
        assertTrue(policy.skips(4, bad(Double.POSITIVE_INFINITY, Float.NaN)));
        assertTrue(policy.skips(5, bad(Double.NaN, Float.NaN)));
        JloraException e =
                assertThrows(
                        JloraException.class, () -> policy.skips(6, bad(Double.NaN, Float.NaN)));
        assertEquals(ExitCode.NUMERICS, e.exitCode());
        assertEquals(
                "Step 6: the loss is NaN and the gradient norm NaN, not finite in 3 steps in a row,"
                    + " which is all that max_nonfinite_steps allows; lower learning_rate, or look"
                    + " for broken rows in the data.",
                e.getMessage());
    }

    @Test
    void aRowGoesOnInARunThatGoesOn() {
        NonfinitePolicy before = new NonfinitePolicy(OnNonfinite.SKIP, 3);
        before.skips(1, bad(Double.NaN, Float.NaN));
        before.skips(2, bad(Double.NaN, Float.NaN));
        NonfinitePolicy after = new NonfinitePolicy(OnNonfinite.SKIP, 3);
        after.restore(before.counts());
        assertThrows(JloraException.class, () -> after.skips(3, bad(Double.NaN, Float.NaN)));
        assertEquals(3, after.counts().skipped());
    }

    @Test
    void abortEndsAtTheFirst() {
        NonfinitePolicy policy = new NonfinitePolicy(OnNonfinite.ABORT, 10);
        assertFalse(policy.skips(1, GOOD));
        JloraException e =
                assertThrows(JloraException.class, () -> policy.skips(2, bad(2.5, Float.NaN)));
        assertEquals(
                "Step 2: the loss is 2.5 and the gradient norm NaN; lower learning_rate, or look"
                        + " for broken rows in the data.",
                e.getMessage());
    }
}
