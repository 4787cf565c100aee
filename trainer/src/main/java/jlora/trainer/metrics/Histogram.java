package jlora.trainer.metrics;

/** How many values lie where, as Prometheus counts them; immutable. Values are seconds. */
final class Histogram {
    /** Upper ends of the buckets: a step is between milliseconds (a toy) and minutes. */
    private static final double[] BOUNDS = {
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250
    };

    static final Histogram EMPTY = new Histogram(new long[BOUNDS.length + 1], 0);

    private final long[] counts;
    private final double sum;

    private Histogram(long[] counts, double sum) {
        this.counts = counts;
        this.sum = sum;
    }

    /** This and one more value. */
    Histogram with(double value) {
        long[] more = counts.clone();
        int bucket = 0;
        while (bucket < BOUNDS.length && value > BOUNDS[bucket]) {
            bucket++;
        }
        more[bucket]++;
        return new Histogram(more, sum + value);
    }

    int buckets() {
        return BOUNDS.length;
    }

    double bound(int bucket) {
        return BOUNDS[bucket];
    }

    /** Values that are no larger than a bucket's bound. */
    long upTo(int bucket) {
        long count = 0;
        for (int i = 0; i <= bucket; i++) {
            count += counts[i];
        }
        return count;
    }

    long count() {
        return upTo(BOUNDS.length);
    }

    double sum() {
        return sum;
    }
}
