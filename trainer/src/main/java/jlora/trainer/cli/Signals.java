package jlora.trainer.cli;

import jlora.runtime.StopRequest;
import jlora.trainer.launch.OsSignal;
import jlora.trainer.launch.TerminationLog;

import java.io.PrintStream;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;

/**
 * What TERM, INT and USR1 do. While a training run goes on, the first of them asks it to end with a
 * checkpoint; a second one, or the first at any other time, ends the process at once with 128 + the
 * signal's number, as if nobody had listened.
 */
final class Signals {
    private static final Map<String, Integer> NUMBERS =
            new TreeMap<>(Map.of("TERM", 15, "INT", 2, "USR1", 10));

    private static final AtomicReference<StopRequest> RUN = new AtomicReference<>();

    private Signals() {}

    /** Listens from now on; to be called before anything that takes time. */
    static void listen(PrintStream err) {
        NUMBERS.keySet().forEach(name -> OsSignal.handle(name, () -> received(name, err)));
    }

    /** Signals ask this run to end, until what is returned is closed. */
    static Listening whileRunning(StopRequest stop) {
        RUN.set(stop);
        return () -> RUN.compareAndSet(stop, null);
    }

    /** A run that signals go to. */
    interface Listening extends AutoCloseable {
        @Override
        void close();
    }

    private static void received(String name, PrintStream err) {
        StopRequest run = RUN.get();
        if (run == null || run.asked()) {
            int code = 128 + NUMBERS.get(name);
            Runtime.getRuntime().halt(TerminationLog.write(code, Optional.of("SIG" + name)));
        }
        run.ask("SIG" + name);
        err.println(
                "jlora: SIG"
                        + name
                        + ": ending with a checkpoint after what is running; once more to end at"
                        + " once");
        err.flush();
    }
}
