package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A real model on real data learns over quantised weights as it does over whole ones. */
@Tag("cluster") // a minute and a half
class QuantizedLearningTest {
    private static final Path CONFIG = Path.of("../configs/stories260k_e2e.yaml");

    @TempDir private Path folder;

    private double evalLoss(String name, String... words) throws IOException {
        Path out = folder.resolve(name);
        List<Object> all = new ArrayList<>(List.of("train", "-c", CONFIG, "--output_dir=" + out));
        all.addAll(List.of("--eval_steps=300", "--save_strategy=no"));
        all.addAll(List.of(words));
        CommandLineRun.succeeds(all.toArray());
        Matcher loss =
                Pattern.compile("\"eval_loss\":([0-9.]+)")
                        .matcher(Files.readString(out.resolve("metrics.jsonl")));
        assertTrue(loss.find());
        double value = Double.parseDouble(loss.group(1));
        System.out.println("stories260k on E2E, 300 steps, " + name + ": eval_loss " + value);
        return value;
    }

    @Test
    void evaluationLossStaysWithinThreePercent() throws IOException {
        assumeTrue(
                Files.exists(Path.of("../../shared/models/stories260k")),
                "stories260k and E2E are not beside the repository: nothing real to train on");
        double whole = evalLoss("float32", "--dtype=float32");
        double nf4 = evalLoss("nf4", "--dtype=float32", "--load_in_4bit");
        double fp8 = evalLoss("fp8", "--dtype=bfloat16", "--weight_dtype=fp8");
        assertTrue(whole < 1.1, "nothing was learnt: " + whole);
        assertTrue(nf4 < 1.03 * whole, nf4 + " of " + whole);
        assertTrue(fp8 < 1.03 * whole, fp8 + " of " + whole);
    }
}
