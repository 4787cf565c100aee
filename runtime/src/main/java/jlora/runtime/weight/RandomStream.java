package jlora.runtime.weight;

import jlora.runtime.kernel.Philox;
import jlora.runtime.kernel.RandomNumbers;

import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32;

/** The {@link RandomNumbers} of one named tensor, one after the other. */
public final class RandomStream {
    private final long seed;
    private final int stream;
    private final int[] words = new int[Philox.WORDS];
    private final double[] pair = new double[2];
    private long counter;
    private int used = Philox.WORDS;
    private boolean spare;

    public RandomStream(long seed, String name) {
        this.seed = seed;
        this.stream = number(name);
    }

    /** The number of a name's stream. */
    public static int number(String name) {
        CRC32 crc = new CRC32();
        crc.update(name.getBytes(StandardCharsets.UTF_8));
        return (int) crc.getValue();
    }

    /** Uniform in (0, 1), 32 bits. */
    public double uniform() {
        if (used == Philox.WORDS) {
            RandomNumbers.words(words, seed, stream, counter);
            counter++;
            used = 0;
        }
        return RandomNumbers.uniform(words[used++]);
    }

    /** Standard normal. */
    public double normal() {
        if (spare) {
            spare = false;
            return pair[1];
        }
        RandomNumbers.normals(pair, 0, uniform(), uniform());
        spare = true;
        return pair[0];
    }
}
