package jlora.runtime.weight;

import jlora.runtime.kernel.Philox;

import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32;

/**
 * Reproducible random numbers for one named tensor: they depend on the seed and the name alone, not
 * on what else is drawn, nor on threads or platform.
 */
public final class RandomStream {
    private final int seedLow;
    private final int seedHigh;
    private final int stream;
    private final int[] words = new int[Philox.WORDS];
    private long counter;
    private int used = Philox.WORDS;
    private double spare = Double.NaN;

    public RandomStream(long seed, String name) {
        CRC32 crc = new CRC32();
        crc.update(name.getBytes(StandardCharsets.UTF_8));
        this.seedLow = (int) seed;
        this.seedHigh = (int) (seed >>> 32);
        this.stream = (int) crc.getValue();
    }

    /** Uniform in (0, 1), 32 bits. */
    public double uniform() {
        if (used == Philox.WORDS) {
            Philox.words(
                    words,
                    0,
                    seedLow,
                    seedHigh,
                    (int) counter,
                    (int) (counter >>> 32),
                    stream,
                    0x6A6C6F72);
            counter++;
            used = 0;
        }
        return ((words[used++] & 0xFFFFFFFFL) + 0.5) * 0x1p-32;
    }

    /** Standard normal, by the Box-Muller transform. */
    public double normal() {
        if (!Double.isNaN(spare)) {
            double value = spare;
            spare = Double.NaN;
            return value;
        }
        double radius = Math.sqrt(-2 * Math.log(uniform()));
        double angle = 2 * Math.PI * uniform();
        spare = radius * Math.sin(angle);
        return radius * Math.cos(angle);
    }
}
