package jlora.runtime.model;

import jlora.runtime.weight.RandomStream;

import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

/**
 * Chooses the next token: the likeliest at temperature 0, else at random from the smallest set of
 * tokens whose probability reaches top-p (nucleus sampling, arXiv 1904.09751). Not for use by
 * several threads.
 */
public final class Sampler {
    private final double temperature;
    private final double topP;
    private final RandomStream random;

    public Sampler(double temperature, double topP, long seed) {
        if (!(temperature >= 0) || !(topP > 0 && topP <= 1)) {
            throw new IllegalArgumentException("temperature " + temperature + ", top_p " + topP);
        }
        this.temperature = temperature;
        this.topP = topP;
        this.random = new RandomStream(seed, "sampler");
    }

    /** The chosen token id; the first of equally likely ones at temperature 0. */
    public int choose(float[] logits) {
        int best = 0;
        for (int i = 1; i < logits.length; i++) {
            best = logits[i] > logits[best] ? i : best;
        }
        if (temperature == 0) {
            return best;
        }
        double[] weight = new double[logits.length];
        double total = 0;
        for (int i = 0; i < logits.length; i++) {
            weight[i] = Math.exp((logits[i] - logits[best]) / temperature);
            total += weight[i];
        }
        int[] order =
                topP == 1
                        ? IntStream.range(0, logits.length).toArray()
                        : IntStream.range(0, logits.length)
                                .boxed()
                                .sorted(Comparator.comparingDouble((Integer i) -> -weight[i]))
                                .mapToInt(Integer::intValue)
                                .toArray();
        double nucleus = 0;
        int count = 0;
        while (count < order.length && nucleus < topP * total) {
            nucleus += weight[order[count++]];
        }
        double at = random.uniform() * nucleus;
        for (int token : Arrays.copyOf(order, count)) {
            at -= weight[token];
            if (at < 0) {
                return token;
            }
        }
        return order[count - 1];
    }
}
