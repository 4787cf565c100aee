package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.io.Json;
import jlora.runtime.io.PeftFolder;
import jlora.trainer.config.RunConfig;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.w3c.dom.Document;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

import javax.xml.parsers.DocumentBuilderFactory;

/** A run from its command line to the files it leaves. */
class TrainCommandTest {
    @TempDir Path folder;
    private RunFolder run;

    @BeforeEach
    void create() throws IOException {
        run = RunFolder.create(folder);
    }

    @Test
    void leavesTheAdapterTheConfigurationAndTheRecords() throws IOException {
        String out = run.succeeds("train", "--cpu_threads", 1);
        assertTrue(out.contains("saved activations"), out);
        assertTrue(out.endsWith("Adapter in " + run.out() + ", report in " + report() + "\n"), out);
        assertEquals(
                Set.of(
                        "adapter_config.json",
                        "adapter_model.safetensors",
                        "config.yaml",
                        "trainer_state.json",
                        "metrics.jsonl",
                        "report.html"),
                names(run.out()));
        try (PeftFolder peft = PeftFolder.open(run.out())) {
            assertEquals(4, peft.modules().size());
            assertEquals(8, peft.config().r());
        }
        JsonNode state = Json.readObject(run.out().resolve("trainer_state.json"));
        assertEquals(6, state.get("global_step").intValue());
        assertEquals(6, state.get("max_steps").intValue());
    }

    @Test
    void metricsHaveOneObjectPerLoggedStepAndEvaluation() throws IOException {
        run.succeeds("train", "--eval_steps", "3");
        List<Long> steps = new ArrayList<>();
        List<Long> evaluations = new ArrayList<>();
        for (ObjectNode line : metrics(run.out())) {
            boolean evaluation = line.has("eval_loss");
            (evaluation ? evaluations : steps).add(line.get("step").longValue());
            List<String> keys =
                    evaluation
                            ? List.of("step", "epoch", "eval_loss")
                            : List.of(
                                    "step",
                                    "epoch",
                                    "loss",
                                    "grad_norm",
                                    "learning_rate",
                                    "tokens",
                                    "tokens_per_second");
            keys.forEach(key -> assertTrue(line.path(key).isNumber(), key + " in " + line));
        }
        assertEquals(List.of(2L, 4L, 6L), steps);
        assertEquals(List.of(3L, 6L), evaluations);
    }

    @Test
    void resolvedConfigurationRepeatsTheRunBitForBit() throws IOException {
        run.succeeds("train", "--lora_target_modules", "all-linear", "--lora_dropout", "0.1");
        Path resolved = run.out().resolve("config.yaml");
        RunConfig again = RunConfig.load(Optional.of(resolved), List.of());
        assertEquals(Optional.of(run.out()), again.output().outputDir());
        Path second = folder.resolve("second");
        CommandLineRun.succeeds("train", "-c", resolved, "--output_dir", second);
        assertEquals(
                -1, Files.mismatch(adapter(run.out()), adapter(second)), "the adapters differ");
        assertEquals(losses(run.out()), losses(second));
    }

    @Test
    void reportIsAWellFormedPageWithItsCharts() throws Exception {
        run.succeeds("train");
        String html = Files.readString(report());
        assertTrue(html.startsWith("<!DOCTYPE html>"), html.substring(0, 40));
        assertFalse(
                html.contains("http://") && html.contains("src="), "the page is self-contained");
        List<String> charts = charts(html);
        assertTrue(charts.size() >= 5, charts.size() + " charts");
        for (String svg : charts) {
            Document document =
                    DocumentBuilderFactory.newInstance()
                            .newDocumentBuilder()
                            .parse(new ByteArrayInputStream(svg.getBytes(StandardCharsets.UTF_8)));
            assertEquals("svg", document.getDocumentElement().getTagName());
        }
    }

    private static List<String> charts(String html) {
        List<String> svgs = new ArrayList<>();
        for (int at = html.indexOf("<svg"); at >= 0; at = html.indexOf("<svg", at + 1)) {
            svgs.add(html.substring(at, html.indexOf("</svg>", at) + "</svg>".length()));
        }
        return svgs;
    }

    @Test
    void evaluationOfTheWrittenAdapterIsThatOfTheRun() throws IOException {
        run.succeeds("train", "--eval_steps", "6");
        double during = lastEvaluation(run.out());
        assertEquals(during, eval("--adapter_name_or_path", run.out()), 1e-6);
        assertTrue(Math.abs(eval() - during) > 1e-3, "the adapter has no effect");
    }

    @Test
    void evaluationTakesTheRowsThatTrainingHeldOut() throws IOException {
        String yaml = Files.readString(run.config()).replaceAll("eval_datasets.*", "");
        run.write("run.yaml", yaml + "eval_split: 0.3\neval_steps: 6\n");
        run.succeeds("train");
        double during = lastEvaluation(run.out());
        assertEquals(during, eval("--adapter_name_or_path", run.out()), 1e-6);
        assertTrue(
                Math.abs(eval("--eval_split=0") - eval()) > 1e-3, "all rows, not those held out");
    }

    @Test
    void adapterOverOtherWeightsOfTheSameShapesIsRefusedUnlessAllowed() throws IOException {
        run.succeeds("train");
        Path other = folder.resolve("other");
        run.succeeds("train", "--method", "full", "--output_dir", other);
        for (String command : List.of("eval", "merge")) {
            run.run(
                            command,
                            "--model_name_or_path",
                            other,
                            "--adapter_name_or_path",
                            run.out(),
                            "--output_dir",
                            folder.resolve("merged"))
                    .refused(
                            ExitCode.CORRUPT_INPUT,
                            run.out() + ": the adapter was trained on other weights",
                            "allow_other_base");
        }
        run.succeeds(
                "eval",
                "--model_name_or_path",
                other,
                "--adapter_name_or_path",
                run.out(),
                "--allow_other_base");
    }

    @Test
    void trainingGoesOnFromAWrittenAdapter() throws IOException {
        run.succeeds("train", "--lora_r", "4", "--lora_alpha", "32", "--eval_steps", "6");
        Path next = folder.resolve("next");
        run.succeeds(
                "train",
                "--adapter_name_or_path",
                run.out(),
                "--output_dir",
                next,
                "--eval_steps=6",
                "logging_steps=1",
                "lr_scheduler_type=constant");
        try (PeftFolder peft = PeftFolder.open(next)) {
            assertEquals(4, peft.config().r(), "the saved adapter's rank");
            assertEquals(32, peft.config().loraAlpha(), "the saved adapter's alpha");
        }
        double before = lastEvaluation(run.out());
        double after = lastEvaluation(next);
        assertTrue(after < before, after + " is not below " + before);
        // The first step sees the adapter as it was: its loss is not that of the base model.
        Path fresh = folder.resolve("fresh");
        run.succeeds("train", "--output_dir", fresh, "logging_steps=1");
        assertNotEquals(losses(fresh).getFirst(), losses(next).getFirst());
    }

    @Test
    void randomInitialisationNeedsNoWeights() throws IOException {
        Files.delete(run.model().resolve("model.safetensors"));
        run.succeeds("train", "--random-init", "--logging_steps=1");
        double first = losses(run.out()).getFirst();
        assertEquals(Math.log(131), first, 0.2, "a random model knows nothing of 131 tokens");
    }

    @Test
    void fullTrainingWritesAModelFolderThatLoadsAgain() throws IOException {
        run.succeeds("train", "--method", "full", "--eval_steps=6", "--learning_rate", "1e-2");
        assertEquals(
                Set.of(
                        "config.json",
                        "model.safetensors",
                        "config.yaml",
                        "trainer_state.json",
                        "metrics.jsonl",
                        "report.html"),
                names(run.out()));
        double during = lastEvaluation(run.out());
        assertEquals(during, eval("--model_name_or_path", run.out()), 1e-6);
        assertTrue(Math.abs(eval() - during) > 1e-2, "nothing was trained");
    }

    @Test
    void fullTrainingKeepsTheTokenizerBesideTheModel() throws Exception {
        run.withTextModel();
        run.succeeds("train", "--method", "full");
        assertTrue(
                names(run.out()).containsAll(List.of("tokenizer.json", "tokenizer_config.json")));
        CommandLineRun.succeeds(
                "generate",
                "--model_name_or_path",
                run.out(),
                "--prompt",
                "The",
                "--max-new-tokens=2");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "--max_steps 2",
                "--max_steps=2",
                "max_steps=2",
                "--max-steps 2",
                "max-steps=2"
            })
    void overridesComeInAllSpellings(String spelling) throws IOException {
        run.succeeds("train", (Object[]) spelling.split(" "));
        assertEquals(
                2,
                Json.readObject(run.out().resolve("trainer_state.json"))
                        .get("global_step")
                        .intValue());
    }

    @Test
    void overridesReachListsAndFlags() throws IOException {
        run.succeeds(
                "train",
                "--lora_target_modules",
                "q_proj",
                "down_proj",
                "--use_rslora",
                "packing=true",
                "datasets[0].limit=5");
        try (PeftFolder peft = PeftFolder.open(run.out())) {
            assertTrue(peft.config().useRslora());
            assertEquals(
                    Set.of("q_proj", "down_proj"),
                    peft.modules().keySet().stream()
                            .map(m -> m.substring(m.lastIndexOf('.') + 1))
                            .collect(Collectors.toSet()));
        }
    }

    @Test
    void stepsGivenOnTheCommandLineWinOverEpochsOfTheFile() throws IOException {
        run.write(
                "run.yaml",
                Files.readString(run.config()).replace("max_steps: 6", "num_train_epochs: 2"));
        String out = run.succeeds("train", "--max_steps", "1");
        assertEquals(1, out.lines().filter(l -> l.startsWith("note: max_steps 1 ends")).count());
        assertEquals(
                1,
                Json.readObject(run.out().resolve("trainer_state.json"))
                        .get("global_step")
                        .intValue());
    }

    @Test
    void overwriteReplacesARunAndNothingElse() throws IOException {
        run.succeeds("train", "--method", "full");
        Path own = Files.writeString(run.out().resolve("notes.txt"), "mine");
        run.succeeds("train", "--overwrite");
        assertEquals("mine", Files.readString(own));
        assertFalse(
                Files.exists(run.out().resolve("model.safetensors")), "the earlier run's model");
        assertTrue(Files.exists(adapter(run.out())));
    }

    private Path report() {
        return run.out().resolve("report.html");
    }

    private static Path adapter(Path folder) {
        return folder.resolve("adapter_model.safetensors");
    }

    private double eval(Object... words) {
        Object[] all = Stream.concat(Stream.of("--json"), Stream.of(words)).toArray();
        String json = run.succeeds("eval", all);
        return Json.parseObject("eval", 1, json.getBytes(StandardCharsets.UTF_8))
                .get("eval_loss")
                .doubleValue();
    }

    private static List<ObjectNode> metrics(Path folder) throws IOException {
        List<ObjectNode> lines = new ArrayList<>();
        for (String line : Files.readAllLines(folder.resolve("metrics.jsonl"))) {
            lines.add(Json.parseObject("metrics.jsonl", 1, line.getBytes(StandardCharsets.UTF_8)));
        }
        return lines;
    }

    private static List<Double> losses(Path folder) throws IOException {
        return metrics(folder).stream()
                .filter(line -> line.has("loss"))
                .map(line -> line.get("loss").doubleValue())
                .toList();
    }

    private static double lastEvaluation(Path folder) throws IOException {
        return metrics(folder).stream()
                .filter(line -> line.has("eval_loss"))
                .mapToDouble(line -> line.get("eval_loss").doubleValue())
                .reduce((_, last) -> last)
                .orElseThrow();
    }

    private static Set<String> names(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(f -> f.getFileName().toString())
                    .collect(Collectors.toCollection(TreeSet::new));
        }
    }
}
