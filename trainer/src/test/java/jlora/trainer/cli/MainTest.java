package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.Json;
import jlora.trainer.config.LogFormat;

import org.junit.jupiter.api.Test;

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.concurrent.Callable;

/** What a user and a scheduler see when a command ends, well or badly. */
class MainTest {
    @Test
    void versionIsTheBuildsOwn() {
        Outcome outcome = run(false, () -> 0, "--version");
        assertEquals(0, outcome.code);
        assertTrue(
                outcome.out.matches("jlora \\d+\\.\\d+\\.\\d+\\S* \\(Java .+\\)\n"), outcome.out);
    }

    @Test
    void exitCodeOfACommandIsTheProcesss() {
        assertEquals(new Outcome(75, "", ""), run(false, () -> 75, "act"));
    }

    @Test
    void userErrorIsOneLineWithItsCode() {
        Callable<Integer> action =
                () -> {
                    throw JloraException.corrupt("data.jsonl line 3 is\n  not JSON.");
                };
        assertEquals(
                new Outcome(3, "", "jlora: data.jsonl line 3 is not JSON.\n"),
                run(false, action, "act"));
    }

    @Test
    void userErrorShowsItsTraceWhenDebugging() {
        Callable<Integer> action =
                () -> {
                    throw new JloraException(ExitCode.NUMERICS, "The loss is NaN.");
                };
        Outcome outcome = run(true, action, "act");
        assertEquals(5, outcome.code);
        assertTrue(outcome.err.startsWith("jlora: The loss is NaN.\n"), outcome.err);
        assertTrue(outcome.err.contains("\tat jlora.trainer.cli.MainTest"), outcome.err);
    }

    @Test
    void unexpectedExceptionAsksForAReport() {
        Callable<Integer> action =
                () -> {
                    throw new IllegalStateException("lost");
                };
        Outcome outcome = run(false, action, "act");
        assertEquals(70, outcome.code);
        assertTrue(outcome.err.startsWith("jlora: internal error, "), outcome.err);
        assertTrue(outcome.err.contains("\tat jlora.trainer.cli.MainTest"), outcome.err);
        assertTrue(outcome.err.contains("please report it"), outcome.err);
        assertTrue(outcome.err.contains(VersionInfo.line()), outcome.err);
    }

    @Test
    void asJsonABugIsOneLineWithItsTrace() {
        StringWriter err = new StringWriter();
        Failures failures = new Failures(new PrintWriter(err), false).in(LogFormat.JSON);
        assertEquals(70, failures.report(new IllegalStateException("lost")));
        assertEquals(1, err.toString().lines().count(), err.toString());
        ObjectNode line = Json.parseObject("err", 1, err.toString().getBytes(UTF_8));
        assertEquals(70, line.get("exit_code").intValue());
        assertTrue(line.get("stack_trace").textValue().contains("\n\tat jlora.trainer.cli"));
        assertEquals(VersionInfo.line(), line.get("version").textValue());
    }

    @Test
    void asJsonAPreemptedRunIsNoError() {
        StringWriter err = new StringWriter();
        Failures failures = new Failures(new PrintWriter(err), false).in(LogFormat.JSON);
        assertEquals(75, failures.report(new JloraException(ExitCode.PREEMPTED, "Stopped.")));
        ObjectNode line = Json.parseObject("err", 1, err.toString().getBytes(UTF_8));
        assertEquals("preempted", line.get("event").textValue());
        assertEquals("notice", line.get("level").textValue());
        assertEquals(75, line.get("exit_code").intValue());
    }

    @Test
    void errorOfTheVirtualMachineIsReportedToo() {
        Callable<Integer> action =
                () -> {
                    throw new AssertionError("broken");
                };
        assertEquals(70, run(false, action, "act").code);
    }

    @Test
    void fullHeapSaysHowToRaiseIt() {
        Callable<Integer> action =
                () -> {
                    throw new OutOfMemoryError("Java heap space");
                };
        Outcome outcome = run(false, action, "act");
        assertEquals(4, outcome.code);
        assertTrue(outcome.err.contains("JLORA_JAVA_OPTS=-Xmx"), outcome.err);
        assertEquals(1, outcome.err.lines().count());
    }

    @Test
    void unknownOptionNamesTheNearest() {
        Outcome outcome = run(false, () -> 0, "act", "--coutn", "3");
        assertEquals(2, outcome.code);
        assertTrue(outcome.err.startsWith("jlora: "), outcome.err);
        assertTrue(outcome.err.contains("--coutn"), outcome.err);
        assertTrue(outcome.err.contains("did you mean"), outcome.err);
        assertTrue(outcome.err.contains("--count"), outcome.err);
        assertTrue(outcome.err.endsWith("Try 'jlora act --help'.\n"), outcome.err);
        assertFalse(outcome.err.contains("\tat "), outcome.err);
    }

    @Test
    void unknownCommandNamesTheNearest() {
        Outcome outcome = run(false, () -> 0, "acr");
        assertEquals(2, outcome.code);
        assertEquals(
                "jlora: there is no command 'acr'; did you mean act\nTry 'jlora --help'.\n",
                outcome.err);
    }

    @Test
    void illTypedOptionAndMissingCommandAreUsageErrors() {
        assertEquals(2, run(false, () -> 0, "act", "--count", "many").code);
        Outcome none = run(false, () -> 0);
        assertEquals(2, none.code);
        assertEquals("jlora: a command is missing\nTry 'jlora --help'.\n", none.err);
    }

    private static Outcome run(boolean debug, Callable<Integer> action, String... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        PrintWriter errWriter = new PrintWriter(err, true);
        CommandLine commandLine = new CommandLine(new JloraCommand());
        commandLine.addSubcommand(new ActCommand(action));
        int code =
                Main.run(
                        commandLine,
                        new Failures(errWriter, debug),
                        new PrintWriter(out, true),
                        errWriter,
                        arguments);
        return new Outcome(code, out.toString(), err.toString());
    }

    private record Outcome(int code, String out, String err) {}

    @Command(name = "act", mixinStandardHelpOptions = true)
    private static final class ActCommand implements Callable<Integer> {
        private final Callable<Integer> action;

        @Option(names = "--count")
        private int count;

        @Parameters(arity = "0")
        private String ignored;

        ActCommand(Callable<Integer> action) {
            this.action = action;
        }

        @Override
        public Integer call() throws Exception {
            return action.call();
        }
    }
}
