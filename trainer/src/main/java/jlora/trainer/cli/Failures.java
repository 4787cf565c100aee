package jlora.trainer.cli;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import picocli.CommandLine;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

import java.io.PrintWriter;
import java.util.List;
import java.util.Optional;

/**
 * How every command ends when it fails: one line on stderr and an exit code for what the user can
 * act on, and a stack trace only for bugs of jlora (or with {@code JLORA_DEBUG=1}).
 */
final class Failures {
    private final PrintWriter err;
    private final boolean debug;
    private String sentence;

    Failures(PrintWriter err, boolean debug) {
        this.err = err;
        this.debug = debug;
    }

    /** Wrong options or arguments. */
    int usage(ParameterException failure) {
        CommandLine command = failure.getCommandLine();
        if (failure.getCause() instanceof JloraException cause) {
            return report(cause);
        }
        line(oneLine(sentence(failure)) + suggestion(failure));
        err.println("Try '" + command.getCommandSpec().qualifiedName() + " --help'.");
        return end(failure, ExitCode.USAGE);
    }

    /** Anything that came out of a command. */
    int report(Throwable failure) {
        return switch (failure) {
            case JloraException known -> {
                line(oneLine(known.getMessage()));
                yield end(known, known.exitCode());
            }
            case OutOfMemoryError full -> {
                long mib = Runtime.getRuntime().maxMemory() >> 20;
                line(
                        "the Java heap of "
                                + mib
                                + " MiB is full; give it more with JLORA_JAVA_OPTS=-Xmx"
                                + mib * 2
                                + "m ("
                                + oneLine(String.valueOf(full.getMessage()))
                                + ")");
                yield end(full, ExitCode.OUT_OF_MEMORY);
            }
            default -> {
                line("internal error, " + oneLine(failure.toString()));
                failure.printStackTrace(err);
                err.println(
                        "This is a bug in jlora: please report it with the lines above, the command"
                                + " and this version: "
                                + VersionInfo.line());
                err.flush();
                yield ExitCode.INTERNAL.code();
            }
        };
    }

    private int end(Throwable failure, ExitCode code) {
        if (debug) {
            failure.printStackTrace(err);
        }
        err.flush();
        return code.code();
    }

    /** What the user was told last, if anything failed. */
    Optional<String> sentence() {
        return Optional.ofNullable(sentence);
    }

    private void line(String said) {
        sentence = said;
        err.println("jlora: " + said);
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
