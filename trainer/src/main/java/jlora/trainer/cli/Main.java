package jlora.trainer.cli;

import jlora.trainer.config.LogFormat;
import jlora.trainer.config.RunConfig;
import jlora.trainer.launch.TerminationLog;

import picocli.CommandLine;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;

/** The {@code jlora} program. */
public final class Main {
    private Main() {}

    public static void main(String[] arguments) {
        Signals.listen();
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
        commandLine.setParameterExceptionHandler(
                (failure, words) -> failures.in(logFormat(words)).usage(failure));
        commandLine.setExecutionExceptionHandler(
                (failure, command, _) -> failures.in(logFormat(command)).report(failure));
        try {
            return commandLine.execute(arguments);
        } catch (Throwable failure) { // picocli hands over exceptions only, and errors end here
            return failures.in(logFormat(running(commandLine))).report(failure);
        } finally {
            out.flush();
            err.flush();
        }
    }

    /** Arguments that could not be parsed can be searched all the same. */
    private static LogFormat logFormat(String[] words) {
        return RunConfig.logFormat(Optional.empty(), List.of(words));
    }

    /** Commands that take a configuration tell their errors as it says. */
    private static LogFormat logFormat(CommandLine command) {
        return runOptions(command).map(RunOptions::logFormat).orElse(LogFormat.TEXT);
    }

    /** The command that was called, below the program itself. */
    private static CommandLine running(CommandLine commandLine) {
        CommandLine.ParseResult result = commandLine.getParseResult();
        while (result != null && result.hasSubcommand()) {
            result = result.subcommand();
        }
        return result == null ? commandLine : result.commandSpec().commandLine();
    }

    private static Optional<RunOptions> runOptions(CommandLine command) {
        return command.getCommandSpec().mixins().values().stream()
                .map(CommandLine.Model.CommandSpec::userObject)
                .filter(RunOptions.class::isInstance)
                .map(RunOptions.class::cast)
                .findFirst();
    }

    /**
     * Keys of the configuration look like options: they go to a command that takes any as they are.
     */
    private static void takeKeys(CommandLine commandLine) {
        boolean takes = runOptions(commandLine).isPresent();
        commandLine.getCommandSpec().parser().unmatchedOptionsArePositionalParams(takes);
        commandLine.getSubcommands().values().forEach(Main::takeKeys);
    }
}
