package jlora.trainer.cli;

import jlora.runtime.ExitCode;
import jlora.trainer.launch.TerminationLog;

import java.io.PrintStream;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * Ends a process whose work hangs: one sentence, where every thread is, and exit code 7. The thread
 * that hangs may be in native code, which nothing else can end.
 */
final class Hang implements Consumer<String> {
    private final PrintStream err;

    Hang(PrintStream err) {
        this.err = err;
    }

    @Override
    public void accept(String work) {
        String sentence =
                work
                        + " takes longer than step_timeout; look for a device or another worker"
                        + " that hangs in the threads below, or raise step_timeout";
        err.println("jlora: " + sentence);
        for (Map.Entry<Thread, StackTraceElement[]> thread :
                Thread.getAllStackTraces().entrySet()) {
            err.println("\"" + thread.getKey().getName() + "\" " + thread.getKey().getState());
            for (StackTraceElement frame : thread.getValue()) {
                err.println("    at " + frame);
            }
        }
        err.flush();
        Runtime.getRuntime()
                .halt(TerminationLog.write(ExitCode.HANG.code(), Optional.of(sentence)));
    }
}
