package jlora.trainer.quickstart;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.JloraException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

class QuickstartTest {
    private static final Path HOME = Path.of("..").toAbsolutePath().normalize();

    @TempDir Path folder;

    @Test
    void aShortRunLearnsAndLeavesAnAdapterAndAReport() throws IOException {
        Path output = folder.resolve("run");
        Path few = folder.resolve("eval.jsonl");
        Files.write(few, Files.readAllLines(HOME.resolve("quickstart/eval.jsonl")).subList(0, 4));
        StringWriter text = new StringWriter();
        new Quickstart(
                        Quickstart.configFile(HOME),
                        List.of(
                                "max_steps=8",
                                "cpu_threads=2",
                                "eval_datasets[0].path=" + few,
                                "output_dir=" + output),
                        new PrintWriter(text))
                .run();
        assertTrue(Files.exists(output.resolve("adapter_model.safetensors")));
        assertTrue(Files.exists(output.resolve("report.html")));
        String shown = text.toString();
        for (Cards.Card card : Cards.read(few)) {
            assertEquals(2, shown.split(Pattern.quote("  " + card.prompt() + "\n"), -1).length - 1);
            assertTrue(shown.contains("expected  " + card.completion().strip()), shown);
        }
        Matcher loss = Pattern.compile("loss per token +([0-9.]+) +([0-9.]+)").matcher(shown);
        assertTrue(loss.find(), shown);
        assertTrue(
                Double.parseDouble(loss.group(2)) < Double.parseDouble(loss.group(1)) - 0.5, shown);
    }

    @Test
    void outsideOfACheckoutItSaysWhereToStartIt() {
        JloraException failure =
                assertThrows(JloraException.class, () -> Quickstart.requireFiles(folder));
        assertTrue(failure.getMessage().contains("./jlora quickstart"), failure.getMessage());
        assertFalse(failure.getMessage().contains("\n"));
    }
}
