package jlora.runtime.plan;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.util.ArrayList;
import java.util.List;

class RecomputeTest {
    static List<TracedModel.Setup> setups() {
        return TracedModel.Setup.all();
    }

    /**
     * Walks down every plan that a budget can ask for: one byte less than each has must give the
     * next.
     */
    @ParameterizedTest
    @MethodSource("setups")
    void autoTakesTheLeastRecomputeThatFits(TracedModel.Setup setup) {
        try (TracedModel model = new TracedModel(setup)) {
            Plan none = model.plan(Recompute.none());
            List<Plan> ladder =
                    new ArrayList<>(List.of(model.plan(Recompute.auto(none.arenaBytes()))));
            assertEquals("none", ladder.getFirst().recomputed());
            while (true) {
                Plan last = ladder.getLast();
                Plan next = model.plan(Recompute.auto(last.arenaBytes() - 1));
                if (next.arenaBytes() >= last.arenaBytes()) {
                    break; // Nothing is smaller: the plan says by its size that it does not fit.
                }
                assertTrue(
                        next.recomputedFlops() > last.recomputedFlops(),
                        last.recomputed() + ", " + next.recomputed());
                // What fits exactly is what is taken.
                Plan again = model.plan(Recompute.auto(next.arenaBytes()));
                assertEquals(next.recomputed(), again.recomputed());
                assertEquals(next.arenaBytes(), again.arenaBytes());
                ladder.add(next);
            }
            assertTrue(
                    ladder.size() >= 3,
                    () -> "only " + ladder.stream().map(Plan::recomputed).toList());
            assertTrue(ladder.getLast().arenaBytes() <= model.plan(Recompute.full()).arenaBytes());
        }
    }
}
