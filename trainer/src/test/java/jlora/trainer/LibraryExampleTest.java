package jlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.io.PeftFolder;
import jlora.trainer.metrics.MetricsHistory;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What the README shows of the library compiles, works, and is shown as it is. */
class LibraryExampleTest {
    private static final Path PARITY = Path.of("src/test/resources/parity");

    @TempDir Path folder;

    @Test
    void trainsAndWritesAnAdapter() {
        MetricsHistory history =
                LibraryExample.train(
                        PARITY.resolve("bases/llama_gqa"),
                        PARITY.resolve("llama_gqa_qv/train.jsonl"),
                        folder.resolve("adapter"));
        assertEquals(20, history.steps().size());
        assertTrue(history.steps().getLast().loss() < history.steps().getFirst().loss() - 0.5);
        try (PeftFolder peft = PeftFolder.open(folder.resolve("adapter"))) {
            assertEquals(14, peft.modules().size());
        }
    }

    @Test
    void readmeShowsIt() throws IOException {
        String source =
                Files.readString(Path.of("src/test/java/jlora/trainer/LibraryExample.java"));
        int from = source.indexOf("        RunConfig config =");
        String shown = source.substring(from, source.indexOf("\n    }\n", from)).stripIndent();
        String readme = Files.readString(Path.of("../README.md"));
        assertTrue(readme.contains(shown), "README.md has drifted from LibraryExample:\n" + shown);
    }
}
