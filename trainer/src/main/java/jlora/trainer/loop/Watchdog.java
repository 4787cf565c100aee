package jlora.trainer.loop;

import java.time.Duration;
import java.util.function.Consumer;

/**
 * Notices that a run hangs: a thread of its own that hears a beat at the start of every step and
 * evaluation batch, and acts when the next one does not come in time. A thread that hangs in native
 * code cannot be interrupted, so what it does is for the process to end.
 */
public final class Watchdog implements AutoCloseable {
    private record Beat(String work, long nanos) {}

    /** Watches nothing. */
    public static final Watchdog NONE = new Watchdog(Duration.ZERO, _ -> {});

    private final long nanos;
    private final Consumer<String> bite;
    private final Runnable heard;
    private volatile Beat beat;
    private final Thread thread;

    /**
     * @param timeout what a piece of work may take; zero watches nothing
     * @param bite hears what hangs, in words, once
     */
    public Watchdog(Duration timeout, Consumer<String> bite) {
        this(timeout, bite, () -> {});
    }

    /**
     * @param heard hears every beat, whether or not anything is watched
     */
    public Watchdog(Duration timeout, Consumer<String> bite, Runnable heard) {
        this.heard = heard;
        this.nanos = timeout.toNanos();
        this.bite = bite;
        this.thread =
                nanos == 0
                        ? null
                        : Thread.ofPlatform().daemon().name("jlora-watchdog").start(this::watch);
    }

    /** Work begins, in time. */
    public void beat(String work) {
        beat = new Beat(work, System.nanoTime());
        heard.run();
    }

    /** Nothing is watched until the next beat. */
    public void rest() {
        beat = null;
    }

    private void watch() {
        try {
            while (true) {
                Beat last = beat;
                long left = last == null ? nanos : nanos - (System.nanoTime() - last.nanos);
                if (left <= 0) {
                    bite.accept(last.work);
                    return;
                }
                // Short enough that beats between two looks do not add up to a late bite.
                long nap = Math.min(left, Math.max(nanos / 100, 1_000_000));
                Thread.sleep(Duration.ofNanos(nap));
            }
        } catch (InterruptedException _) {
            return; // closed
        }
    }

    @Override
    public void close() {
        if (thread != null) {
            thread.interrupt();
        }
    }
}
