package jlora.trainer.checkpoint;

import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Writes one checkpoint at a time beside training; what fails in it surfaces at the next call. */
public final class BackgroundSave implements AutoCloseable {
    private final ExecutorService thread =
            Executors.newSingleThreadExecutor(
                    Thread.ofPlatform().daemon().name("jlora-save").factory());
    private Future<?> running;

    /** Whether a checkpoint is still being written; throws if writing the last one failed. */
    public boolean busy() {
        if (running != null && running.isDone()) {
            await();
        }
        return running != null;
    }

    /** Waits for what is running, but no longer than this; its failure stays for {@link #busy}. */
    public void await(long nanos) {
        try {
            running.get(nanos, TimeUnit.NANOSECONDS);
        } catch (TimeoutException | ExecutionException _) {
            return;
        } catch (InterruptedException e) {
            throw interrupted(e);
        }
    }

    private static IllegalStateException interrupted(InterruptedException e) {
        Thread.currentThread().interrupt();
        return new IllegalStateException("interrupted while a checkpoint was written", e);
    }

    /** Starts to write; nothing may be running. */
    public void start(Runnable write) {
        if (busy()) {
            throw new IllegalStateException("a checkpoint is still being written");
        }
        running = thread.submit(write);
    }

    /** Waits for what is running; throws if it failed. */
    public void await() {
        Future<?> last = running;
        if (last == null) {
            return;
        }
        try {
            last.get();
        } catch (ExecutionException e) {
            switch (e.getCause()) {
                case RuntimeException failure -> throw failure;
                case Error failure -> throw failure;
                default -> throw new IllegalStateException(e.getCause());
            }
        } catch (InterruptedException e) {
            throw interrupted(e);
        } finally {
            running = null;
        }
    }

    /** Waits for what is running, whether it fails or not. */
    @Override
    public void close() {
        thread.close();
    }
}
