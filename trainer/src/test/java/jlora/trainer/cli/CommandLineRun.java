package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;

import picocli.CommandLine;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.stream.Stream;

/** What one command line left behind: its exit code and what it printed. */
public record CommandLineRun(int code, String out, String err) {

    /** Runs the program in this process, as a user would call it. */
    public static CommandLineRun of(Object... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        PrintWriter errors = new PrintWriter(err, true);
        int code =
                Main.run(
                        new CommandLine(new JloraCommand()),
                        new Failures(errors, false),
                        new PrintWriter(out, true),
                        errors,
                        Stream.of(arguments).map(Object::toString).toArray(String[]::new));
        return new CommandLineRun(code, out.toString(), err.toString());
    }

    /** Runs a command line that has to succeed in silence on stderr, and returns its output. */
    public static String succeeds(Object... arguments) {
        CommandLineRun run = of(arguments);
        assertAll(() -> assertEquals("", run.err), () -> assertEquals(0, run.code));
        return run.out;
    }

    /** Asserts one sentence on stderr that holds all these parts, and the exit code. */
    public void refused(ExitCode expected, String... parts) {
        assertTrue(err.startsWith("jlora: "), err);
        assertEquals(1, err.lines().count(), err);
        assertFalse(err.matches("(?s).*(internal error|Source:|\\tat ).*"), err);
        for (String part : parts) {
            assertTrue(err.contains(part), "'" + part + "' is not in: " + err);
        }
        assertEquals(expected.code(), code, err);
    }
}
