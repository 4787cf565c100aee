package jlora.trainer.cli;

import jlora.runtime.StopRequest;
import jlora.trainer.launch.OsSignal;
import jlora.trainer.launch.TerminationLog;
import jlora.trainer.metrics.RunEvent;

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

    /** Who hears of signals, and where it is told. */
    private record Run(StopRequest stop, ErrorLog log) {}

    private static final AtomicReference<Run> RUN = new AtomicReference<>();

    private Signals() {}

    /** Listens from now on; to be called before anything that takes time. */
    static void listen() {
        NUMBERS.keySet().forEach(name -> OsSignal.handle(name, () -> received(name)));
    }

    /** Signals ask this run to end, until what is returned is closed. */
    static Listening whileRunning(StopRequest stop, ErrorLog log) {
        Run run = new Run(stop, log);
        RUN.set(run);
        return () -> RUN.compareAndSet(run, null);
    }

    /** A run that signals go to. */
    interface Listening extends AutoCloseable {
        @Override
        void close();
    }

    private static void received(String name) {
        Run run = RUN.get();
        if (run == null || run.stop.asked()) {
            int code = 128 + NUMBERS.get(name);
            Runtime.getRuntime().halt(TerminationLog.write(code, Optional.of("SIG" + name)));
        }
        String signal = "SIG" + name;
        run.stop.ask(signal);
        String sentence =
                signal
                        + ": ending with a checkpoint after what is running; once more to end at"
                        + " once";
        run.log.say(
                new RunEvent(RunEvent.Level.NOTICE, "signal", sentence, Map.of("signal", signal)));
    }
}
