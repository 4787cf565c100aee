package jlora.trainer.data;

/**
 * A place in the endless sequence of batches: the next batch to train on. The order of an epoch
 * follows from the seed and the epoch alone, so this pair is all that a resumed run needs.
 *
 * @param epoch from 0
 * @param batch micro-batches of that epoch that lie before, from 0
 */
public record DataPosition(int epoch, int batch) {
    public static final DataPosition START = new DataPosition(0, 0);

    public DataPosition {
        if (epoch < 0 || batch < 0) {
            throw new IllegalArgumentException("epoch " + epoch + ", batch " + batch);
        }
    }
}
