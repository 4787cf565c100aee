package jlora.trainer.loop;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Collective;
import jlora.runtime.backend.Readback;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Placement;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The losses of batches that several workers compute, one slot each, and behind them the number of
 * workers that want to stop. Each batch is one worker's and 0 for the others, so the sum over the
 * workers gives every loss as it was, to the bit; nobody waits for the device.
 */
final class SharedLosses {
    private final Session session;
    private final Collective collective;
    private final int slots;
    private final Tensor row;
    private final List<Tensor> slot;

    /**
     * @param slots most batches between {@link #begin} and {@link #exchange}
     */
    SharedLosses(Session session, Collective collective, String label, int slots) {
        this.session = session;
        this.collective = collective;
        this.slots = slots;
        this.row = Tensor.dense(label, Storage.Role.RESULT, DType.F32, 1, slots + 1L);
        this.slot = IntStream.range(0, slots).mapToObj(i -> row.columns(i, 1)).toList();
        session.allocate(to -> Placement.allocate(to, label, List.of(row.storage())));
    }

    int slots() {
        return slots;
    }

    /** Forgets all losses; this worker's vote is the only thing that is not 0. */
    void begin(boolean stop) {
        float[] values = new float[slots + 1];
        values[slots] = stop ? 1 : 0;
        session.backend().upload(row, MemorySegment.ofArray(values));
    }

    /** Copies the loss of the batch that ran last to its slot. */
    void keep(int batch) {
        session.backend().copy(slot.get(batch), session.loss());
    }

    /** Sums over the workers. */
    void exchange() {
        collective.sum(row);
    }

    /** The slots as they are now, and the votes behind them. */
    Readback readLater() {
        Backend backend = session.backend();
        return backend.readLater(row);
    }

    /** Whether any worker voted to stop, by the values of an exchanged row. */
    boolean stop(float[] values) {
        return values[slots] > 0;
    }
}
