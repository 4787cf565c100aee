package jlora.runtime.arch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.googlejavaformat.java.GoogleJavaFormatToolProvider;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.spi.ToolProvider;
import java.util.stream.Stream;

/**
 * All sources are as google-java-format writes them. A test and not a Maven plugin, because the
 * formatter must run on the JDK that parses our syntax, and Maven's own may be older.
 */
@Execution(ExecutionMode.CONCURRENT)
class FormatTest {
    private static final ToolProvider FORMATTER = new GoogleJavaFormatToolProvider();

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void sourcesAreFormatted() {
        SourceTree tree = SourceTree.find();
        List<Path> files = tree.javaFiles(SourceTree.Part.MAIN, SourceTree.Part.TEST);
        assertTrue(files.size() > 1, "no sources found under " + tree.root());
        List<String> unformatted = unformatted(files);
        assertTrue(
                unformatted.isEmpty(),
                () ->
                        unformatted.size()
                                + " of "
                                + files.size()
                                + " files are not formatted; run scripts/format:\n  "
                                + String.join("\n  ", relative(tree.root(), unformatted)));
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void unformattedFileIsNamed(@TempDir Path folder) throws IOException {
        Path bad = folder.resolve("Bad.java");
        Path good = folder.resolve("Good.java");
        Files.writeString(bad, "class Bad { int  x; }\n");
        Files.writeString(good, "class Good {\n    int x;\n}\n");
        assertEquals(List.of(bad.toString()), unformatted(List.of(bad, good)));
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void syntaxOfTheNewestJavaIsUnderstood(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("Recent.java");
        Files.writeString(
                file,
                """
                class Recent {
                    sealed interface Shape permits Circle {}

                    record Circle(double radius) implements Shape {}

                    Recent(int x) {
                        if (x < 0) {
                            throw new IllegalArgumentException();
                        }
                        super();
                    }

                    static double radius(Shape shape) {
                        return switch (shape) {
                            case Circle(var radius) when radius > 0 -> radius;
                            case Circle _ -> 0;
                        };
                    }
                }
                """);
        assertEquals(List.of(), unformatted(List.of(file)));
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void fileThatDoesNotParseIsAnError(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("Broken.java");
        Files.writeString(file, "class Broken {\n");
        List<String> messages = unformatted(List.of(file));
        assertFalse(messages.isEmpty());
        assertTrue(messages.getFirst().contains("Broken.java"), messages::toString);
    }

    /** Names of the files that the formatter would change, and its errors. */
    private static List<String> unformatted(List<Path> files) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        List<String> arguments = new ArrayList<>(List.of("--aosp", "--dry-run"));
        files.forEach(file -> arguments.add(file.toString()));
        FORMATTER.run(
                new PrintWriter(out, true),
                new PrintWriter(err, true),
                arguments.toArray(String[]::new));
        return Stream.concat(err.toString().lines(), out.toString().lines()).toList();
    }

    private static List<String> relative(Path root, List<String> lines) {
        return lines.stream().map(line -> line.replace(root + "/", "")).toList();
    }
}
