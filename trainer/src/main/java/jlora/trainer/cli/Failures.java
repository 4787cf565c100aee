package jlora.trainer.cli;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.config.LogFormat;
import jlora.trainer.metrics.RunEvent;

import picocli.CommandLine;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * How every command ends when it fails: one line on stderr and an exit code for what the user can
 * act on, and a stack trace only for bugs of jlora (or with {@code JLORA_DEBUG=1}). As JSON it is
 * one line in any case, with the stack trace as a field.
 */
final class Failures {
    private final PrintWriter err;
    private final boolean debug;
    private LogFormat format = LogFormat.TEXT;
    private String sentence;

    Failures(PrintWriter err, boolean debug) {
        this.err = err;
        this.debug = debug;
    }

    /** Failures are told in this form from now on. */
    Failures in(LogFormat other) {
        format = other;
        return this;
    }

    /** Wrong options or arguments. */
    int usage(ParameterException failure) {
        CommandLine command = failure.getCommandLine();
        if (failure.getCause() instanceof JloraException cause) {
            return report(cause);
        }
        String help = "Try '" + command.getCommandSpec().qualifiedName() + " --help'.";
        String sentence = oneLine(sentence(failure)) + suggestion(failure);
        return end(ExitCode.USAGE, sentence, help, failure, debug);
    }

    /** Anything that came out of a command. */
    int report(Throwable failure) {
        return switch (failure) {
            case JloraException known ->
                    end(known.exitCode(), oneLine(known.getMessage()), "", known, debug);
            case OutOfMemoryError full -> {
                long mib = Runtime.getRuntime().maxMemory() >> 20;
                String sentence =
                        "the Java heap of "
                                + mib
                                + " MiB is full; give it more with JLORA_JAVA_OPTS=-Xmx"
                                + mib * 2
                                + "m ("
                                + oneLine(String.valueOf(full.getMessage()))
                                + ")";
                yield end(ExitCode.OUT_OF_MEMORY, sentence, "", full, debug);
            }
            default ->
                    end(
                            ExitCode.INTERNAL,
                            "internal error, " + oneLine(failure.toString()),
                            "This is a bug in jlora: please report it with the lines above, the"
                                    + " command and this version: "
                                    + VersionInfo.line(),
                            failure,
                            true);
        };
    }

    /**
     * @param advice a line of its own in text; empty for none
     * @param trace whether the stack trace is shown
     */
    private int end(
            ExitCode code, String sentence, String advice, Throwable failure, boolean trace) {
        // A run that goes on later is nothing to raise an alarm about.
        RunEvent told =
                code == ExitCode.PREEMPTED
                        ? new RunEvent(RunEvent.Level.NOTICE, "preempted", sentence, Map.of())
                        : RunEvent.error(sentence);
        RunEvent event = told.with("exit_code", code.code()).with("reason", code.meaning());
        if (trace) {
            StringWriter stack = new StringWriter();
            failure.printStackTrace(new PrintWriter(stack, true));
            event = event.with("stack_trace", stack.toString()).with("version", VersionInfo.line());
        }
        this.sentence = sentence;
        new ErrorLog(err, format).say(event, "stack_trace");
        if (format == LogFormat.TEXT && !advice.isEmpty()) {
            err.println(advice);
        }
        err.flush();
        return code.code();
    }

    /** What the user was told last, if anything failed. */
    Optional<String> sentence() {
        return Optional.ofNullable(sentence);
    }

    private static String sentence(ParameterException failure) {
        boolean wrongCommand =
                failure instanceof UnmatchedArgumentException unmatched
                        && !unmatched.isUnknownOption()
                        && !failure.getCommandLine().getSubcommands().isEmpty();
        return wrongCommand
                ? "there is no command '"
                        + ((UnmatchedArgumentException) failure).getUnmatched().getFirst()
                        + "'"
                : failure.getMessage();
    }

    private static String suggestion(ParameterException failure) {
        if (!(failure instanceof UnmatchedArgumentException unmatched)) {
            return "";
        }
        List<String> suggestions = unmatched.getSuggestions();
        return suggestions.isEmpty() ? "" : "; did you mean " + String.join(" or ", suggestions);
    }

    private static String oneLine(String message) {
        return message.strip().replaceAll("\\s*\\R\\s*", " ");
    }
}
