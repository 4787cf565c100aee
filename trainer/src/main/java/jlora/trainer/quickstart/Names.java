package jlora.trainer.quickstart;

import java.util.List;
import java.util.Map;
import java.util.random.RandomGenerator;

/**
 * Names of places to eat, such as "the Copper Kettle": one of two words each, in all combinations.
 * A tenth of the combinations is held out: no text that anything is trained on has them.
 */
final class Names {
    private static final int HELD_OUT = 10;

    private final List<Words.Entry> first;
    private final List<Words.Entry> second;

    Names(Words words) {
        this.first = words.list("first");
        this.second = words.list("second");
    }

    /** A name with its article, either a held-out one or one of the others. */
    Words.Entry draw(RandomGenerator random, boolean heldOut) {
        while (true) {
            int i = random.nextInt(first.size());
            int j = random.nextInt(second.size());
            if (((3 * i + j) % HELD_OUT == 0) == heldOut) {
                return new Words.Entry(
                        Map.of("text", "the " + first.get(i).text() + " " + second.get(j).text()));
            }
        }
    }
}
