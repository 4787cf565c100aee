package jlora.runtime.adapter.lora;

import jlora.runtime.weight.RandomStream;

/** The start of an adapter: A random, B zero, so that it changes nothing before the first step. */
public enum LoraInit {
    /**
     * PEFT's default: Kaiming-uniform with a = √5, which is uniform in ±1/√in (arXiv 1502.01852,
     * section 2.2).
     */
    KAIMING_UNIFORM,
    /** Normal with standard deviation 1/r. */
    GAUSSIAN;

    /**
     * A [r,in], row by row. Depends on the seed and the module's name alone, so that adding a
     * module changes no other.
     */
    public float[] a(long seed, String module, int rank, int in) {
        RandomStream random = new RandomStream(seed, module + ".lora_A");
        float[] values = new float[Math.multiplyExact(rank, in)];
        double bound = 1 / Math.sqrt(in);
        for (int i = 0; i < values.length; i++) {
            values[i] =
                    (float)
                            (this == GAUSSIAN
                                    ? random.normal() / rank
                                    : (2 * random.uniform() - 1) * bound);
        }
        return values;
    }
}
