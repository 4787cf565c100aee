package jlora.runtime.backend.cpu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntConsumer;

/**
 * A fixed number of threads that share one range of work. {@link #run} splits it into fixed, equal
 * parts that depend on nothing but the sizes, so sums formed per part are the same bits in every
 * run with the same number of threads.
 *
 * <p>A step calls this several hundred times, often for a few microseconds of work: threads that
 * wait spin for a moment before they park, because waking a parked thread costs tens of
 * microseconds. One call runs at a time; a call from inside another one is an error.
 */
public final class CpuPool implements AutoCloseable {
    /**
     * Work on items {@code from} (inclusive) to {@code to} (exclusive) as part number {@code part}.
     */
    @FunctionalInterface
    public interface Body {
        void run(int part, long from, long to);
    }

    /** Work on task {@code task}, on the thread that has the scratch memory number {@code part}. */
    @FunctionalInterface
    public interface TaskBody {
        void run(int part, int task);
    }

    private static final long SPIN_NANOS = 50_000;

    private final int threads;
    private final Worker[] workers;
    private boolean busy;

    public CpuPool(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException(threads + " threads");
        }
        this.threads = threads;
        this.workers = new Worker[threads - 1];
        for (int i = 0; i < workers.length; i++) {
            workers[i] = new Worker(i + 1);
        }
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
        execute(parts, part -> body.run(part, items * part / parts, items * (part + 1) / parts));
    }

    /**
     * Runs tasks 0 to {@code count} − 1, each on the next thread that is free: for work of uneven
     * size. Which thread runs a task changes from run to run, so a task's result must not depend on
     * {@code part}.
     */
    public void tasks(int count, TaskBody body) {
        int parts = Math.min(threads, count);
        if (parts <= 1) {
            for (int task = 0; task < count; task++) {
                body.run(0, task);
            }
            return;
        }
        AtomicInteger next = new AtomicInteger();
        execute(
                parts,
                part -> {
                    for (int task = next.getAndIncrement();
                            task < count;
                            task = next.getAndIncrement()) {
                        body.run(part, task);
                    }
                });
    }

    private synchronized void execute(int parts, IntConsumer work) {
        if (busy) {
            throw new IllegalStateException("a parallel step started another one");
        }
        busy = true;
        Throwable failure = null;
        try {
            for (int p = 1; p < parts; p++) {
                workers[p - 1].start(work);
            }
            try {
                work.accept(0);
            } catch (RuntimeException | Error e) {
                failure = e;
            }
            for (int p = 1; p < parts; p++) {
                Throwable other = workers[p - 1].await();
                failure = failure == null ? other : failure;
            }
        } finally {
            busy = false;
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
        for (Worker worker : workers) {
            worker.stop();
        }
    }

    /** One thread and the mailbox through which it is given work: null means that it has none. */
    private static final class Worker implements Runnable {
        private final int part;
        private final Thread thread;
        private volatile IntConsumer work;
        private volatile boolean asleep;
        private volatile boolean stopped;
        private volatile Thread waiter;
        private Throwable failure;

        Worker(int part) {
            this.part = part;
            this.thread = Thread.ofPlatform().daemon().name("jlora-cpu-" + part).start(this);
        }

        void start(IntConsumer next) {
            if (stopped) {
                throw new IllegalStateException("the pool of processor threads is closed");
            }
            work = next;
            if (asleep) {
                LockSupport.unpark(thread);
            }
        }

        /** Returns when the work is done, with what it threw or null. */
        Throwable await() {
            boolean interrupted = false;
            if (spin(false)) {
                waiter = Thread.currentThread();
                while (work != null) {
                    LockSupport.park(this);
                    interrupted |= Thread.interrupted();
                }
                waiter = null;
            }
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
            Throwable result = failure;
            failure = null;
            return result;
        }

        void stop() {
            stopped = true;
            LockSupport.unpark(thread);
        }

        @Override
        public void run() {
            while (true) {
                if (spin(true)) {
                    asleep = true;
                    while (work == null && !stopped) {
                        LockSupport.park(this);
                    }
                    asleep = false;
                }
                IntConsumer current = work;
                if (current == null) {
                    return;
                }
                try {
                    current.accept(part);
                } catch (Throwable e) {
                    failure = e;
                }
                work = null;
                LockSupport.unpark(waiter);
            }
        }

        /** Watches the mailbox for a moment while it is (not) empty; true when nothing changed. */
        private boolean spin(boolean whileEmpty) {
            long start = System.nanoTime();
            while ((work == null) == whileEmpty) {
                if (stopped && whileEmpty || System.nanoTime() - start > SPIN_NANOS) {
                    return true;
                }
                Thread.onSpinWait();
            }
            return false;
        }
    }
}
