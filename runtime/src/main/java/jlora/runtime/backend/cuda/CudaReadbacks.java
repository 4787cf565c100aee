package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaEvent;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.PinnedBuffer;
import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.Resources;
import jlora.runtime.backend.Readback;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;

/** Results that the device writes to pinned memory while Java goes on. */
final class CudaReadbacks implements AutoCloseable {
    /** The losses of a step's micro-batches on all workers take the most. */
    private static final long SLOT_BYTES = 64L << 10;

    private static final long CHECK_AFTER_NANOS = 2_000_000;
    private static final long PATIENT_NANOS = 20_000;

    private record Slot(PinnedBuffer memory, CudaEvent there) {}

    private final CudaContext context;
    private final CudaStream stream;
    private final Resources owned = new Resources();
    private final Deque<Slot> free = new ArrayDeque<>();
    private Optional<Runnable> check = Optional.empty();
    private Duration timeout = Duration.ZERO;

    CudaReadbacks(CudaContext context, CudaStream stream) {
        this.context = context;
        this.stream = stream;
    }

    Readback start(Tensor from) {
        if (from.dtype() != DType.F32 || !from.isDense()) {
            throw new IllegalArgumentException("results are dense float32, not " + from);
        }
        int count = Math.toIntExact(from.elements());
        if (count * (long) Float.BYTES > SLOT_BYTES) {
            throw new IllegalArgumentException(
                    from + " is larger than results are; " + SLOT_BYTES + " bytes is the most");
        }
        Slot slot = free.isEmpty() ? make() : free.pop();
        stream.copyToHost(
                slot.memory.segment().address(), from.address(), count * (long) Float.BYTES);
        stream.record(slot.there);
        return () -> {
            await(slot.there);
            float[] values =
                    slot.memory
                            .segment()
                            .asSlice(0, count * (long) Float.BYTES)
                            .toArray(ValueLayout.JAVA_FLOAT);
            free.push(slot);
            return values;
        };
    }

    /** As {@link CudaBackend#watchWaits} says. */
    void watch(Runnable check, Duration timeout) {
        this.check = Optional.of(check);
        this.timeout = timeout;
    }

    private void await(CudaEvent there) {
        if (check.isEmpty()) {
            there.synchronize();
            return;
        }
        long start = System.nanoTime();
        while (!there.passed()) {
            long waited = System.nanoTime() - start;
            if (!timeout.isZero() && waited > timeout.toNanos()) {
                throw new JloraException(
                        ExitCode.HANG,
                        "results did not come within "
                                + timeout.toMillis() / 1000.0
                                + " s: another worker is lost, stopped or far behind; see its"
                                + " messages, or raise step_timeout.");
            }
            // The first moments are the step itself; a lost rank may be noticed later.
            if (waited > CHECK_AFTER_NANOS) {
                check.get().run();
                LockSupport.parkNanos(PATIENT_NANOS);
            } else {
                Thread.onSpinWait();
            }
        }
    }

    private Slot make() {
        return new Slot(
                owned.own(context.allocatePinned("results", SLOT_BYTES)),
                owned.own(context.event("results")));
    }

    @Override
    public void close() {
        owned.close();
    }
}
