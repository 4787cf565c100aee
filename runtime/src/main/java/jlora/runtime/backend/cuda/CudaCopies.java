package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaStream;
import jlora.cu.sys.CudaDriverApi.Copy2D;
import jlora.runtime.backend.HostRows;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Copies between host memory and tensors of the device, through pinned memory. */
final class CudaCopies implements AutoCloseable {
    /** More threads than this convert faster than a bus takes bytes. */
    private static final int MOST_THREADS = 8;

    /** Rows of a tensor, or columns of one row, that fit into a slot; dense on the host. */
    private record Piece(Tensor tensor, long hostOffset) {
        long bytes() {
            return CudaCopies.bytes(tensor);
        }
    }

    private final CudaStream stream;
    private final Staging staging;

    CudaCopies(CudaContext context, CudaStream stream) {
        this.stream = stream;
        this.staging = new Staging(context, stream);
    }

    void upload(Tensor to, MemorySegment from) {
        for (Piece piece : pieces(to)) {
            MemorySegment host = staging.take(piece.bytes());
            MemorySegment.copy(from, piece.hostOffset, host, 0, piece.bytes());
            toDevice(piece.tensor, host);
        }
    }

    void download(MemorySegment to, Tensor from) {
        Deque<Runnable> arriving = new ArrayDeque<>();
        for (Piece piece : pieces(from)) {
            if (arriving.size() == staging.slots() - 1) {
                arriving.remove().run();
            }
            Staging.Slot slot = staging.next();
            toHost(slot.memory(), piece.tensor);
            slot.copied();
            arriving.add(
                    () -> {
                        slot.await();
                        MemorySegment.copy(slot.memory(), 0, to, piece.hostOffset, piece.bytes());
                    });
        }
        drain(arriving);
    }

    /**
     * Host threads fill slots, or what stays in memory of the host; this thread alone talks to the
     * device.
     */
    void upload(List<HostRows> sources) {
        List<HostRows.Piece> pieces =
                sources.stream().flatMap(s -> s.pieces(Staging.SLOT_BYTES).stream()).toList();
        int threads = Math.min(MOST_THREADS, Runtime.getRuntime().availableProcessors());
        // Closing waits for the threads: none may still write into a slot afterwards.
        try (ExecutorService writers =
                Executors.newFixedThreadPool(
                        threads, Thread.ofPlatform().daemon().name("weights-", 0).factory())) {
            Deque<Runnable> filling = new ArrayDeque<>();
            try {
                for (HostRows.Piece piece : pieces) {
                    if (filling.size() == staging.slots() - 1) {
                        filling.remove().run();
                    }
                    if (piece.to().storage().inHostMemory()) {
                        Future<?> written = writers.submit(() -> piece.write(piece.to()));
                        filling.add(() -> await(written));
                    } else if (bytes(piece.to()) > Staging.SLOT_BYTES) {
                        drain(filling);
                        uploadLarge(piece);
                    } else {
                        filling.add(fill(piece, writers));
                    }
                }
                drain(filling);
            } catch (RuntimeException | Error e) {
                writers.shutdownNow();
                throw e;
            }
        }
    }

    private static void drain(Deque<Runnable> work) {
        while (!work.isEmpty()) {
            work.remove().run();
        }
    }

    /** One row that is larger than a slot, through memory of its own. */
    private void uploadLarge(HostRows.Piece piece) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate(bytes(piece.to()), MemoryArena.ALIGNMENT);
            piece.write(dense(piece.to(), host));
            upload(piece.to(), host);
        }
    }

    /** Starts to fill a slot; what is returned waits for that and starts the copy. */
    private Runnable fill(HostRows.Piece piece, ExecutorService writers) {
        Staging.Slot slot = staging.next();
        Tensor rows = dense(piece.to(), slot.memory());
        Future<?> filled = writers.submit(() -> piece.write(rows));
        return () -> {
            await(filled);
            toDevice(piece.to(), slot.memory());
            slot.copied();
        };
    }

    private static long bytes(Tensor tensor) {
        return tensor.elements() * tensor.dtype().bytes();
    }

    private static Tensor dense(Tensor like, MemorySegment host) {
        Tensor rows =
                Tensor.dense(
                        like.name(), like.storage().role(), like.dtype(), like.rows(), like.cols());
        MemoryArena.over(like.name(), host).place(rows.storage(), 0);
        return rows;
    }

    private static void await(Future<?> filled) {
        try {
            filled.get();
        } catch (ExecutionException e) {
            switch (e.getCause()) {
                case RuntimeException cause -> throw cause;
                case Error cause -> throw cause;
                default -> throw new IllegalStateException(e.getCause());
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while weights were read", e);
        }
    }

    private static List<Piece> pieces(Tensor tensor) {
        List<Piece> pieces = new ArrayList<>();
        if (tensor.elements() == 0) {
            return pieces;
        }
        int width = tensor.dtype().bytes();
        long rowBytes = tensor.cols() * width;
        if (rowBytes <= Staging.SLOT_BYTES) {
            long most = Staging.SLOT_BYTES / rowBytes;
            for (long row = 0; row < tensor.rows(); row += most) {
                long rows = Math.min(most, tensor.rows() - row);
                pieces.add(new Piece(tensor.rows(row, rows), row * rowBytes));
            }
            return pieces;
        }
        long most = Staging.SLOT_BYTES / width;
        for (long row = 0; row < tensor.rows(); row++) {
            for (long col = 0; col < tensor.cols(); col += most) {
                long cols = Math.min(most, tensor.cols() - col);
                pieces.add(
                        new Piece(
                                tensor.rows(row, 1).columns(col, cols),
                                row * rowBytes + col * width));
            }
        }
        return pieces;
    }

    private void toDevice(Tensor to, MemorySegment from) {
        if (to.isDense()) {
            stream.copyToDevice(to.address(), from.address(), bytes(to));
        } else {
            long row = to.cols() * to.dtype().bytes();
            long pitch = to.stride() * to.dtype().bytes();
            stream.copy(
                    new Copy2D(
                            to.address(), pitch, false, from.address(), row, true, row, to.rows()));
        }
    }

    private void toHost(MemorySegment to, Tensor from) {
        if (from.isDense()) {
            stream.copyToHost(to.address(), from.address(), bytes(from));
        } else {
            long row = from.cols() * from.dtype().bytes();
            long pitch = from.stride() * from.dtype().bytes();
            stream.copy(
                    new Copy2D(
                            to.address(),
                            row,
                            true,
                            from.address(),
                            pitch,
                            false,
                            row,
                            from.rows()));
        }
    }

    @Override
    public void close() {
        staging.close();
    }
}
