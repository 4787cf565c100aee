package jlora.bench;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import picocli.CommandLine;
import picocli.CommandLine.Option;

/** How a benchmark's command line runs and ends: as the jlora program does. */
public final class Program {
    /** The help option. */
    public static final class Help {
        @Option(
                names = {"-h", "--help"},
                usageHelp = true,
                description = "Show this help and end.")
        private boolean asked;
    }

    private Program() {}

    /** Runs a picocli command; a user's error is one line on stderr and its exit code. */
    public static int run(Runnable command, String... arguments) {
        return new CommandLine(command)
                .setUnmatchedOptionsArePositionalParams(true)
                .setExitCodeExceptionMapper(
                        failure ->
                                failure instanceof JloraException known
                                        ? known.exitCode().code()
                                        : ExitCode.INTERNAL.code())
                .setExecutionExceptionHandler(
                        (failure, line, _) -> {
                            if (failure instanceof JloraException known) {
                                line.getErr().println("jlora: " + known.getMessage());
                                return known.exitCode().code();
                            }
                            throw failure;
                        })
                .execute(arguments);
    }
}
