package jlora.runtime.kernel;

/**
 * The random numbers that weights start from: they depend on a seed, a stream and their place in it
 * alone, not on what else is drawn, nor on threads, platform or device.
 *
 * <p>Counter c of a stream gives four words of {@link Philox}, each a uniform number, and two pairs
 * of these four normal numbers: so the e-th number of a stream comes from counter e/4.
 */
public final class RandomNumbers {
    /** The counter's last word, which tells these numbers from those of dropout. */
    private static final int NUMBERS = 0x6A6C6F72;

    private RandomNumbers() {}

    /** Fills {@code out} with the four words of a counter. */
    public static void words(int[] out, long seed, int stream, long counter) {
        Philox.words(
                out,
                0,
                (int) seed,
                (int) (seed >>> 32),
                (int) counter,
                (int) (counter >>> 32),
                stream,
                NUMBERS);
    }

    /** Uniform in (0, 1), 32 bits. */
    public static double uniform(int word) {
        return ((word & 0xFFFFFFFFL) + 0.5) * 0x1p-32;
    }

    /** Two standard normal numbers from two uniform ones, by the Box-Muller transform. */
    public static void normals(double[] out, int at, double first, double second) {
        double radius = Math.sqrt(-2 * Math.log(first));
        double angle = 2 * Math.PI * second;
        out[at] = radius * Math.cos(angle);
        out[at + 1] = radius * Math.sin(angle);
    }

    /** Fills {@code out} with the four standard normal numbers of a counter. */
    public static void normals(double[] out, int[] words, long seed, int stream, long counter) {
        words(words, seed, stream, counter);
        normals(out, 0, uniform(words[0]), uniform(words[1]));
        normals(out, 2, uniform(words[2]), uniform(words[3]));
    }
}
