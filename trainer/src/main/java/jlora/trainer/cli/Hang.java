package jlora.trainer.cli;

import jlora.runtime.ExitCode;
import jlora.trainer.launch.TerminationLog;
import jlora.trainer.metrics.RunEvent;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * Ends a process whose work hangs: one sentence, where every thread is, and exit code 7. The thread
 * that hangs may be in native code, which nothing else can end.
 */
final class Hang implements Consumer<String> {
    private final ErrorLog log;

    Hang(ErrorLog log) {
        this.log = log;
    }

    @Override
    public void accept(String work) {
        String sentence =
                work
                        + " takes longer than step_timeout; look for a device or another worker"
                        + " that hangs in the threads below, or raise step_timeout";
        log.say(
                RunEvent.error(sentence)
                        .with("exit_code", ExitCode.HANG.code())
                        .with("reason", ExitCode.HANG.meaning())
                        .with("threads", threads()),
                "threads");
        Runtime.getRuntime()
                .halt(TerminationLog.write(ExitCode.HANG.code(), Optional.of(sentence)));
    }

    private static String threads() {
        StringWriter text = new StringWriter();
        PrintWriter lines = new PrintWriter(text);
        for (Map.Entry<Thread, StackTraceElement[]> thread :
                Thread.getAllStackTraces().entrySet()) {
            lines.println("\"" + thread.getKey().getName() + "\" " + thread.getKey().getState());
            for (StackTraceElement frame : thread.getValue()) {
                lines.println("    at " + frame);
            }
        }
        lines.flush();
        return text.toString();
    }
}
