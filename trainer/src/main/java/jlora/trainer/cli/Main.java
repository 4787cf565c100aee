package jlora.trainer.cli;

import jlora.trainer.launch.TerminationLog;

import picocli.CommandLine;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;

/** The {@code jlora} program. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) {
        Signals.listen(System.err);
        PrintWriter out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
        PrintWriter err = new PrintWriter(System.err, true, StandardCharsets.UTF_8);
        Failures failures = new Failures(err, "1".equals(System.getenv("JLORA_DEBUG")));
        int code = run(new CommandLine(new JloraCommand()), failures, out, err, arguments);
        System.exit(TerminationLog.write(code, failures.sentence()));
    }

    /** Runs one command line to its exit code; nothing is thrown, whatever the command does. */
    static int run(
            CommandLine commandLine,
            Failures failures,
            PrintWriter out,
            PrintWriter err,
            String... arguments) {
        commandLine.setOut(out).setErr(err);
        takeKeys(commandLine);
        commandLine.setParameterExceptionHandler((failure, _) -> failures.usage(failure));
        commandLine.setExecutionExceptionHandler((failure, _, _) -> failures.report(failure));
        try {
            return commandLine.execute(arguments);
        } catch (Throwable failure) { // picocli hands over exceptions only, and errors end here
            return failures.report(failure);
        } finally {
            out.flush();
            err.flush();
        }
    }

    /**
     * Keys of the configuration look like options: they go to a command that takes any as they are.
     */
    private static void takeKeys(CommandLine commandLine) {
        boolean takes =
                commandLine.getCommandSpec().mixins().values().stream()
                        .anyMatch(mixin -> mixin.userObject() instanceof RunOptions);
        commandLine.getCommandSpec().parser().unmatchedOptionsArePositionalParams(takes);
        commandLine.getSubcommands().values().forEach(Main::takeKeys);
    }
}
