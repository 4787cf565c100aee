package jlora.runtime.backend.cpu;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * A fixed number of threads that share one range of work in fixed, equal parts. The split depends
 * on nothing but the sizes, so sums that are formed per part are the same bits in every run with
 * the same number of threads.
 */
public final class CpuPool implements AutoCloseable {
    /**
     * Work on items {@code from} (inclusive) to {@code to} (exclusive) as part number {@code part}.
     */
    @FunctionalInterface
    public interface Body {
        void run(int part, long from, long to);
    }

    private final int threads;
    private final ExecutorService executor;

    public CpuPool(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException(threads + " threads");
        }
        this.threads = threads;
        this.executor =
                Executors.newFixedThreadPool(
                        Math.max(1, threads - 1),
                        Thread.ofPlatform().daemon().name("jlora-cpu-", 1).factory());
    }

    public int threads() {
        return threads;
    }

    /**
     * Splits {@code items} into at most {@link #threads} parts of at least {@code grain} items and
     * runs them all.
     */
    public void run(long items, long grain, Body body) {
        if (items <= 0) {
            return;
        }
        int parts = (int) Math.max(1, Math.min(threads, items / Math.max(1, grain)));
        if (parts == 1) {
            body.run(0, 0, items);
            return;
        }
        List<Future<?>> others = new ArrayList<>(parts - 1);
        for (int p = 1; p < parts; p++) {
            int part = p;
            others.add(
                    executor.submit(
                            () ->
                                    body.run(
                                            part,
                                            items * part / parts,
                                            items * (part + 1) / parts)));
        }
        Throwable failure = null;
        try {
            body.run(0, 0, items / parts);
        } catch (RuntimeException | Error e) {
            failure = e;
        }
        for (Future<?> other : others) {
            try {
                other.get();
            } catch (ExecutionException e) {
                failure = failure == null ? e.getCause() : failure;
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                failure =
                        failure == null
                                ? new IllegalStateException("interrupted in a parallel step", e)
                                : failure;
            }
        }
        switch (failure) {
            case null -> {}
            case RuntimeException e -> throw e;
            case Error e -> throw e;
            default -> throw new IllegalStateException(failure);
        }
    }

    @Override
    public void close() {
        executor.shutdownNow();
    }
}
