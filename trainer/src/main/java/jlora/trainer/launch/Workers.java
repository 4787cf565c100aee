package jlora.trainer.launch;

import jlora.runtime.ExitCode;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Waits for processes that belong together: hands TERM, INT and USR1 on, ends all when one fails,
 * and says how the whole ended.
 */
final class Workers {
    /** Peers of a failed worker wait for it in vain: they get so long to end by themselves. */
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    private sealed interface Event {
        record Ended(int code) implements Event {}

        record Told() implements Event {}
    }

    private final List<Process> processes = new ArrayList<>();
    private final PosixSignal stop;
    private final LinkedBlockingQueue<Event> events = new LinkedBlockingQueue<>();
    private int running;
    private int told;
    private int failure;
    private boolean preempted;
    private long killAt = Long.MAX_VALUE;

    /**
     * Listens for signals from now on: those that come while workers are started reach them as
     * well.
     *
     * @param stop the signal by which workers stop with a checkpoint
     */
    Workers(PosixSignal stop) {
        this.stop = stop;
        for (String name : List.of("TERM", "INT", "USR1")) {
            OsSignal.handle(name, () -> events.add(new Event.Told()));
        }
    }

    /**
     * Takes a process under its care, which leads a group of its own: a terminal's signals come
     * through here alone.
     */
    void add(Process process) {
        processes.add(process);
        running++;
        process.onExit().thenAccept(p -> events.add(new Event.Ended(p.exitValue())));
    }

    /**
     * Waits for the end of all. The thread that started them has to be the one that waits: they end
     * with it.
     *
     * @return the code of the first that failed; 75 where none failed and some were preempted
     */
    int await() throws InterruptedException {
        while (running > 0) {
            switch (events.poll(1, TimeUnit.SECONDS)) {
                case null -> killLate();
                case Event.Told() -> tell();
                case Event.Ended(int code) -> ended(code);
            }
        }
        return failure == 0 && preempted ? ExitCode.PREEMPTED.code() : failure;
    }

    /** The first signal asks for a checkpoint, the second one for the end. */
    private void tell() {
        told++;
        PosixSignal signal = told == 1 ? stop : PosixSignal.TERM;
        processes.stream().filter(Process::isAlive).forEach(signal::send);
    }

    private void ended(int code) {
        running--;
        if (code == ExitCode.PREEMPTED.code()) {
            preempted = true;
        } else if (code != 0 && failure == 0) {
            failure = code;
            killAt = System.nanoTime() + PATIENCE.toNanos();
            processes.stream().filter(Process::isAlive).forEach(PosixSignal.TERM::send);
        }
    }

    /** Ends what still runs, at once. */
    void kill() {
        processes.stream().filter(Process::isAlive).forEach(PosixSignal.KILL::sendToGroup);
    }

    private void killLate() {
        if (killAt != Long.MAX_VALUE && System.nanoTime() - killAt > 0) {
            kill();
        }
    }
}
