package jlora.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.util.OptionalInt;

class BestModelTest {
    private static Evaluator.Result loss(double loss) {
        return new Evaluator.Result(loss, 10);
    }

    @Test
    void smallerIsBetterAndTheFirstOfEqualsStays() {
        BestModel best = new BestModel(false, OptionalInt.empty(), 0, BestModel.State.NONE);
        assertTrue(best.accept(5, loss(2)));
        assertFalse(best.accept(10, loss(2)));
        assertTrue(best.accept(15, loss(1.5)));
        assertFalse(best.accept(20, loss(3)));
        assertEquals(new BestModel.State(15, 1.5, 1), best.state());
        assertFalse(best.exhausted());
    }

    @Test
    void perplexityIsComparedWhereAskedFor() {
        BestModel best = new BestModel(true, OptionalInt.empty(), 0, BestModel.State.NONE);
        best.accept(1, loss(2));
        assertEquals(Math.exp(2), best.state().value());
    }

    @Test
    void patienceCountsEvaluationsWithoutAGainOfTheThreshold() {
        BestModel best = new BestModel(false, OptionalInt.of(2), 0.1, BestModel.State.NONE);
        best.accept(1, loss(2));
        assertTrue(best.accept(2, loss(1.95)), "the best, but no gain of the threshold");
        assertFalse(best.exhausted());
        best.accept(3, loss(1.9));
        assertTrue(best.exhausted());
        BestModel resumed = new BestModel(false, OptionalInt.of(2), 0.1, best.state());
        assertTrue(resumed.exhausted());
        resumed.accept(4, loss(1));
        assertFalse(resumed.exhausted());
    }

    @Test
    void lossThatIsNotANumberIsNeverTheBest() {
        BestModel best = new BestModel(false, OptionalInt.of(2), 0, BestModel.State.NONE);
        assertFalse(best.accept(1, loss(Double.NaN)));
        assertTrue(best.accept(2, loss(5)));
        assertFalse(best.accept(3, loss(Double.NaN)));
        assertEquals(2, best.state().step());
    }
}
