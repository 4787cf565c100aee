package jlora.runtime.backend;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

/**
 * This process's place among ranks that train together. All ranks call the same operations in the
 * same order with tensors of the same shapes, which lie in the memory of the backend that the
 * collective belongs to; results are the same bits on all ranks, and in every run with as many
 * ranks. An operation is part of the device's work, in order with the kernels around it; all calls
 * come from the thread that opened the backend.
 *
 * <p>A rank that is lost, or does not come to an operation within the timeout that the collective
 * was opened with, is a {@link jlora.runtime.JloraException} with exit code 7 ({@link
 * jlora.runtime.ExitCode#HANG}) on the others; after it nothing but {@link #close} may be called.
 */
public interface Collective extends AutoCloseable {
    /** From 0. */
    int rank();

    int ranks();

    /** What the ranks are joined by, for people. */
    String describe();

    /**
     * The sum over all ranks.
     *
     * @param inPlace f32, dense
     */
    void sum(Tensor inPlace);

    /**
     * The parts of all ranks one behind the other, on every rank.
     *
     * @param whole dense, [ranks · n, cols] of any type
     * @param part dense, [n, cols] of the same type
     */
    void gather(Tensor whole, Tensor part);

    /**
     * Starts a gather that may go on beside the work that follows, which leaves both tensors alone
     * until {@link #awaitGather}. Work that was started before sees {@code whole} as it was.
     * Gathers happen in the order in which they are started. A collective that cannot work beside
     * kernels gathers at once.
     */
    default void startGather(Tensor whole, Tensor part) {
        gather(whole, part);
    }

    /** Work that follows sees what the last {@link #startGather} into this tensor has gathered. */
    default void awaitGather(Tensor whole) {}

    /**
     * Waits until all ranks have come to their orderly end; the last operation. Without it {@link
     * #close} leaves the others behind, as a rank that fails must: they wait for it no longer than
     * their timeout.
     */
    void finish();

    /** What {@link #sum} asks for. */
    static void requireSum(Tensor inPlace) {
        if (inPlace.dtype() != DType.F32 || !inPlace.isDense()) {
            throw new IllegalArgumentException("sums are of dense float32, not " + inPlace);
        }
    }

    /** What {@link #gather} asks for. */
    static void requireGather(Tensor whole, Tensor part, int ranks) {
        boolean fits =
                whole.dtype() == part.dtype()
                        && whole.cols() == part.cols()
                        && whole.rows() == part.rows() * ranks;
        if (!fits || !whole.isDense() || !part.isDense()) {
            throw new IllegalArgumentException(
                    "gather of " + part.describe() + " from each rank to " + whole.describe());
        }
    }

    /** Twice is fine. */
    @Override
    void close();
}
