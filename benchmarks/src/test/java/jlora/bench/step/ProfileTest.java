package jlora.bench.step;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.tensor.DType;
import jlora.trainer.bench.Ceilings;

import org.junit.jupiter.api.Test;

import java.util.List;

/** The table per op: shares of the whole step, and how near each op is to the ceilings. */
class ProfileTest {
    private static final Ceilings CEILINGS = new Ceilings(200e9, 40e9, 2048, 256L << 20, 32L << 20);

    @Test
    void limitIsTheLongerOfProductAndCopy() {
        assertEquals(0.5, CEILINGS.seconds(100_000_000_000L, 4_000_000_000L));
        assertEquals(1.0, CEILINGS.seconds(100_000_000_000L, 40_000_000_000L));
    }

    @Test
    void sharesAreOfTheWholeStepWithWhatLiesBetweenOps() {
        // Two steps of one second each; of the four calls each takes 0.4 s where 0.2 s is the
        // limit.
        OpTimes.Op op = new OpTimes.Op("linear", 4, 1.6, 0.8, 160e9, 1.6e9);
        Profile profile = new Profile("cpu", DType.F32, 2, 1000, 2, CEILINGS, List.of(op));
        String table = profile.markdown();
        assertTrue(table.contains("| `linear` | 2 | 800.000 | 80.0% | 100 | 1.0 | 50% |"), table);
        assertTrue(table.contains("results out | | 200.000 | 20.0% |"), table);
        assertTrue(table.contains("**1000.000** | **100%** | **80** | **0.8** | **40%**"), table);
        assertTrue(table.contains("500 tokens/s"), table);
        assertEquals(0.5, profile.json().at("/ops/0/of_limit").asDouble());
    }
}
