package jlora.runtime.backend;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.IntStream;

/** Ranks that are threads of one process, over tensors in host memory; sums are in rank order. */
public final class ThreadCollective implements Collective {
    private static final long TIMEOUT_SECONDS = 60;

    /** What the ranks of a group share. */
    private static final class Group {
        private final CyclicBarrier barrier;
        private final MemorySegment[] parts;

        Group(int ranks) {
            barrier = new CyclicBarrier(ranks);
            parts = new MemorySegment[ranks];
        }
    }

    private final Group group;
    private final int rank;
    private boolean finished;
    private long operations;

    private ThreadCollective(Group group, int rank) {
        this.group = group;
        this.rank = rank;
    }

    /** The ranks of a new group, each for a thread of its own. */
    public static List<ThreadCollective> group(int ranks) {
        Group group = new Group(ranks);
        return IntStream.range(0, ranks).mapToObj(r -> new ThreadCollective(group, r)).toList();
    }

    /** How many sums and gathers this rank has taken part in. */
    public long operations() {
        return operations;
    }

    @Override
    public int rank() {
        return rank;
    }

    @Override
    public int ranks() {
        return group.parts.length;
    }

    @Override
    public String describe() {
        return "threads of one process";
    }

    @Override
    public void sum(Tensor inPlace) {
        if (inPlace.dtype() != DType.F32) {
            throw new IllegalArgumentException("sums are of float32, not " + inPlace);
        }
        MemorySegment own = exchange(inPlace);
        float[] sum = new float[Math.toIntExact(inPlace.elements())];
        for (MemorySegment part : group.parts) {
            requireSame(part, own);
            for (int i = 0; i < sum.length; i++) {
                sum[i] += part.getAtIndex(ValueLayout.JAVA_FLOAT, i);
            }
        }
        await();
        MemorySegment.copy(sum, 0, own, ValueLayout.JAVA_FLOAT, 0, sum.length);
    }

    @Override
    public void gather(Tensor whole, Tensor part) {
        MemorySegment own = exchange(part);
        MemorySegment to = bytes(whole);
        if (to.byteSize() != own.byteSize() * ranks()) {
            throw new IllegalArgumentException("gather of " + part + " to " + whole);
        }
        for (int r = 0; r < ranks(); r++) {
            requireSame(group.parts[r], own);
            // A part may lie in its place already, which others read at this time.
            if (r != rank || own.address() != to.address() + r * own.byteSize()) {
                MemorySegment.copy(group.parts[r], 0, to, r * own.byteSize(), own.byteSize());
            }
        }
        await();
    }

    private static void requireSame(MemorySegment part, MemorySegment own) {
        if (part.byteSize() != own.byteSize()) {
            throw new IllegalArgumentException(
                    "ranks have come with "
                            + part.byteSize()
                            + " and "
                            + own.byteSize()
                            + " bytes");
        }
    }

    private static MemorySegment bytes(Tensor tensor) {
        if (!tensor.isDense()) {
            throw new IllegalArgumentException(tensor + " is not dense");
        }
        return tensor.segment()
                .asSlice(tensor.byteOffset(0), tensor.elements() * tensor.dtype().bytes());
    }

    /** Shows all ranks this one's part and waits for theirs. */
    private MemorySegment exchange(Tensor part) {
        operations++;
        MemorySegment own = bytes(part);
        group.parts[rank] = own;
        await();
        return own;
    }

    private void await() {
        try {
            group.barrier.await(TIMEOUT_SECONDS, TimeUnit.SECONDS);
        } catch (BrokenBarrierException | TimeoutException e) {
            throw new JloraException(ExitCode.HANG, "another rank is lost.", e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    @Override
    public void finish() {
        await();
        finished = true;
    }

    @Override
    public void close() {
        if (!finished) {
            group.barrier.reset();
        }
    }
}
