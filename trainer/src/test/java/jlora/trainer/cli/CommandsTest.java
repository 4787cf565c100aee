package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import picocli.CommandLine;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Every command that has a file can be called, and says what it does. */
class CommandsTest {
    private static final String SOURCES = "trainer/src/main/java/jlora/trainer/cli";

    @Test
    void everyCommandFileIsListed() throws IOException {
        Path folder = LauncherSandbox.repository().resolve(SOURCES);
        try (Stream<Path> files = Files.list(folder)) {
            Set<String> written =
                    files.map(file -> file.getFileName().toString())
                            .filter(name -> name.endsWith("Command.java"))
                            .map(name -> name.substring(0, name.length() - ".java".length()))
                            .collect(Collectors.toCollection(TreeSet::new));
            Set<String> listed = new TreeSet<>();
            collect(new CommandLine(new JloraCommand()), listed);
            assertEquals(written, listed);
        }
    }

    @Test
    void everyCommandHasHelpAndADescription() {
        check(new CommandLine(new JloraCommand()));
    }

    private static void collect(CommandLine command, Set<String> names) {
        Class<?> type = command.getCommand().getClass();
        if (type.getPackage().equals(JloraCommand.class.getPackage())) { // not picocli's own
            names.add(type.getSimpleName());
        }
        command.getSubcommands().values().forEach(child -> collect(child, names));
    }

    private static void check(CommandLine command) {
        String name = command.getCommandSpec().qualifiedName();
        assertAll(
                name,
                () -> assertTrue(command.getCommandSpec().findOption("--help") != null, "--help"),
                () ->
                        assertTrue(
                                command.getCommandSpec().usageMessage().description().length > 0,
                                "a description"));
        command.getSubcommands().values().forEach(CommandsTest::check);
    }
}
