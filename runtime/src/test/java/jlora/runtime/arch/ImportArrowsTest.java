package jlora.runtime.arch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Who may import whom, read from the sources; and that the reader sees what is forbidden. */
class ImportArrowsTest {
    @Test
    void sourcesFollowTheArrows() {
        SourceTree tree = SourceTree.find();
        List<String> violations = new ArrayList<>();
        int files = 0;
        for (SourceTree.Part part : SourceTree.Part.values()) {
            for (Path file : tree.javaFiles(part)) {
                String name = tree.root().relativize(file).toString();
                violations.addAll(ImportArrows.violations(name, part, SourceTree.text(file)));
                files++;
            }
        }
        assertTrue(files > 1, "no sources found under " + tree.root());
        assertTrue(violations.isEmpty(), () -> String.join("\n", violations));
    }

    @ParameterizedTest
    @CsvSource({
        "jlora.cu.driver, jlora.runtime.tensor",
        "jlora.runtime.io, jlora.trainer.config",
        "jlora.trainer.cli, jlora.bench.op",
        "jlora.runtime, jlora.runtime.tensor",
        "jlora.runtime.tensor, jlora.runtime.kernel",
        "jlora.runtime.kernel, jlora.runtime.backend",
        "jlora.runtime.backend.cpu, jlora.runtime.plan",
        "jlora.runtime.backend.cpu, jlora.runtime.backend.cuda",
        "jlora.runtime.plan, jlora.runtime.op",
        "jlora.runtime.model.llama, jlora.runtime.adapter",
        "jlora.runtime.adapter.lora, jlora.runtime.io",
        "jlora.runtime.helpers, jlora.runtime.tensor",
        "jlora.runtime.io, jlora.runtime.helpers",
        "jlora.runtime.io, jlora.helpers",
    })
    void forbiddenImportIsReported(String from, String to) {
        List<String> expected = List.of("F.java: " + from + " uses " + to);
        assertEquals(expected, brief(violations(from, "import " + to + ".Thing;")));
        assertEquals(expected, brief(violations(from, "import static " + to + ".Thing.make;")));
        assertEquals(expected, brief(violations(from, "import " + to + ".*;")));
        assertEquals(
                expected,
                brief(violations(from, "class F { Object o = new " + to + ".Thing(); }")));
    }

    @ParameterizedTest
    @CsvSource({
        "jlora.runtime.backend.cuda, jlora.cu.driver",
        "jlora.trainer.loop, jlora.runtime.io",
        "jlora.bench.op, jlora.trainer.config",
        "jlora.runtime.tensor, jlora.runtime",
        "jlora.runtime.backend.cpu.reference, jlora.runtime.backend.cpu",
        "jlora.runtime.backend, jlora.runtime.backend.cpu",
        "jlora.runtime.backend.cuda, jlora.runtime.kernel",
        "jlora.runtime.model, jlora.runtime.model.llama",
        "jlora.runtime.io, jlora.runtime.adapter.lora",
    })
    void allowedImportIsNot(String from, String to) {
        assertEquals(List.of(), violations(from, "import " + to + ".Thing;"));
    }

    @Test
    void commentsAndStringsAreNotUses() {
        String body =
                """
                /** Used by {@link jlora.runtime.io.Thing}. */
                class F { // jlora.runtime.io.Thing
                    String name = "jlora.runtime.io.Thing";
                    char quote = '"';
                }
                """;
        assertEquals(List.of(), violations("jlora.runtime.tensor", body));
    }

    @Test
    void testsOfALayerMayUseLayersAboveButNoModuleAbove() {
        String source = "package jlora.runtime.tensor; import jlora.runtime.io.Thing;";
        assertEquals(List.of(), ImportArrows.violations("F.java", SourceTree.Part.TEST, source));
        String above = "package jlora.runtime.tensor; import jlora.trainer.config.Thing;";
        assertEquals(1, ImportArrows.violations("F.java", SourceTree.Part.TEST, above).size());
    }

    private static List<String> violations(String from, String body) {
        String source = "package " + from + ";\n\n" + body;
        return ImportArrows.violations("F.java", SourceTree.Part.MAIN, source);
    }

    private static List<String> brief(List<String> violations) {
        return violations.stream().map(text -> text.substring(0, text.indexOf(','))).toList();
    }
}
