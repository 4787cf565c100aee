package jlora.trainer.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.JloraException;
import jlora.runtime.adapter.lora.LoraInit;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;

class ConfigLoaderTest {
    @TempDir Path folder;

    private RunConfig words(String... words) {
        return ConfigLoader.load(Optional.empty(), List.of(words), folder);
    }

    private RunConfig yaml(String text, String... words) throws IOException {
        Path file = Files.createDirectories(folder.resolve("conf")).resolve("run.yaml");
        Files.writeString(file, text);
        return ConfigLoader.load(Optional.of(file), List.of(words), folder);
    }

    @Test
    void defaultsAreThoseOfTransformersTrlAndPeft() {
        RunConfig config = RunConfig.defaults();
        TrainConfig train = config.train();
        assertEquals(TrainingMethod.LORA, train.method());
        assertEquals(8, config.adapter().loraR());
        assertEquals(8.0, config.adapter().loraAlpha());
        assertEquals(0.0, config.adapter().loraDropout());
        assertEquals(Optional.empty(), config.adapter().loraTargetModules());
        assertEquals(2e-4, train.learningRate());
        assertEquals(2e-5, words("method=full").train().learningRate());
        assertEquals(42, train.seed());
        assertEquals(42, train.dataSeed());
        assertEquals(8, train.perDeviceTrainBatchSize());
        assertEquals(1, train.gradientAccumulationSteps());
        assertEquals(0.9, train.adamBeta1());
        assertEquals(0.999, train.adamBeta2());
        assertEquals(1e-8, train.adamEpsilon());
        assertEquals(1.0, train.maxGradNorm());
        assertEquals(Optional.of(3.0), train.numTrainEpochs());
        assertEquals(Optional.empty(), train.maxSteps());
        assertEquals(LrSchedulerType.LINEAR, train.lrSchedulerType());
        assertEquals(GradientCheckpointing.AUTO, train.gradientCheckpointing());
        assertEquals(EvalStrategy.NO, train.evalStrategy());
        assertEquals(1024, config.data().maxLength());
        assertTrue(config.data().shuffle());
        assertFalse(config.data().packing());
        assertFalse(RunConfig.keyNames().stream().anyMatch(config::isSet));
    }

    @Test
    void derivedDefaultsFollowTheirKeys() throws IOException {
        assertEquals(7, words("seed=7").train().dataSeed());
        assertEquals(1, words("seed=7", "data_seed=1").train().dataSeed());
        assertEquals(Optional.empty(), words("max_steps=5").train().numTrainEpochs());
        assertEquals(Optional.of(3.0), words("max_steps=-1").train().numTrainEpochs());
        assertEquals(
                Optional.of(2.5),
                words("max_steps=-1", "num_train_epochs=2.5").train().numTrainEpochs());
        assertEquals(EvalStrategy.STEPS, words("eval_steps=5").train().evalStrategy());
        assertEquals(EvalStrategy.EPOCH, words("eval_split=0.1").train().evalStrategy());
        TrainConfig steps = words("eval_strategy=steps", "logging_steps=3").train();
        assertEquals(Optional.of(3), steps.evalSteps());
        assertEquals(
                EvalStrategy.NO, yaml("eval_strategy: no\neval_split: 3\n").train().evalStrategy());
    }

    @Test
    void maxStepsWinsOverEpochsAndSaysSo() throws IOException {
        RunConfig config = yaml("num_train_epochs: 3\n", "--max_steps", "20");
        assertEquals(Optional.of(20), config.train().maxSteps());
        assertEquals(
                List.of("max_steps 20 ends the run; num_train_epochs 3 has no effect"),
                config.notes());
        assertEquals(config, yaml(config.toYaml()));
        assertEquals(List.of(), words("max_steps=20").notes());
        assertEquals(List.of(), words("max_steps=-1", "num_train_epochs=2").notes());
    }

    @Test
    void warmupIsStepsOrAShareAndStepsWin() {
        assertEquals(0, RunConfig.defaults().train().warmup(100));
        assertEquals(7, words("warmup_steps=7").train().warmup(100));
        assertEquals(7, words("warmup_steps=7.0").train().warmup(100));
        assertEquals(1, words("warmup_steps=1").train().warmup(100));
        assertEquals(4, words("warmup_steps=0.03").train().warmup(101));
        assertEquals(4, words("warmup_ratio=0.03").train().warmup(101));
        assertEquals(101, words("warmup_ratio=1").train().warmup(101));
        RunConfig both = words("warmup_steps=7", "warmup_ratio=0.5");
        assertEquals(7, both.train().warmup(100));
        assertEquals(
                List.of("warmup_steps 7 sets the warmup; warmup_ratio has no effect"),
                both.notes());
        RunConfig none = words("warmup_steps=0", "warmup_ratio=0.5");
        assertEquals(50, none.train().warmup(100));
        assertEquals(List.of(), none.notes());
    }

    @Test
    void constantScheduleTakesAWarmupAndSaysThatItHasNone() {
        for (String key : List.of("warmup_steps", "warmup_ratio")) {
            assertEquals(
                    List.of(
                            "lr_scheduler_type constant has no warmup, so "
                                    + key
                                    + " has no effect; constant_with_warmup would honour it"),
                    words("lr_scheduler_type=constant", key + "=0.5").notes());
            assertEquals(
                    List.of(),
                    words("lr_scheduler_type=constant_with_warmup", key + "=0.5").notes());
        }
    }

    @Test
    void evalStepsWithoutAStrategyMeanStepsAndWithAnotherSaySo() {
        RunConfig given = words("eval_steps=5", "eval_split=2");
        assertEquals(EvalStrategy.STEPS, given.train().evalStrategy());
        assertEquals(List.of(), given.notes());
        for (String other : List.of("no", "epoch")) {
            RunConfig config = words("eval_steps=5", "eval_strategy=" + other, "eval_split=2");
            assertEquals(other, Keys.nameOf(config.train().evalStrategy()));
            assertEquals(
                    List.of(
                            "eval_steps has no effect with eval_strategy "
                                    + other
                                    + "; eval_strategy: steps would honour it"),
                    config.notes());
        }
    }

    @Test
    void yamlTakesEveryKindOfValue() throws IOException {
        RunConfig config =
                yaml(
                        """
                        model_name_or_path: ../models/tiny
                        output_dir: /abs/out
                        device: cuda:1
                        cpu_threads: 3
                        products: vector
                        memory_limit: 12GiB
                        gradient_checkpointing: true
                        learning_rate: 2e-4
                        weight_decay: 1
                        lora_target_modules: [q_proj, v_proj]
                        lora_exclude_modules: .*\\.0\\..*
                        lora_layers_to_transform: 3
                        lora_layers_pattern: [layers, h]
                        lora_rank_pattern: {q_proj: 4, "model.layers.0.*": 16}
                        lora_alpha_pattern:
                          q_proj: 2.5
                        init_lora_weights: gaussian
                        completion_only_loss: false
                        datasets:
                          - path: a.jsonl
                            type: prompt_completion
                            prompt_field: question
                          - {path: b.jsonl.gz, type: text, limit: 10}
                        """);
        assertEquals(Optional.of(folder.resolve("models/tiny")), config.model().modelNameOrPath());
        assertEquals(Optional.of(Path.of("/abs/out")), config.output().outputDir());
        assertEquals("cuda:1", config.model().device());
        assertEquals(Optional.of(3), config.model().cpuThreads());
        assertEquals(ProductEngine.VECTOR, config.model().products());
        assertEquals(Optional.of(new ByteSize(12L << 30)), config.model().memoryLimit());
        assertEquals(GradientCheckpointing.FULL, config.train().gradientCheckpointing());
        assertEquals(2e-4, config.train().learningRate());
        assertEquals(1.0, config.train().weightDecay());
        assertEquals(
                Optional.of(new ModuleNames.Names(List.of("q_proj", "v_proj"))),
                config.adapter().loraTargetModules());
        assertEquals(
                Optional.of(new ModuleNames.Regex(".*\\.0\\..*")),
                config.adapter().loraExcludeModules());
        assertEquals(Optional.of(List.of(3)), config.adapter().loraLayersToTransform());
        assertEquals(Optional.of(List.of("layers", "h")), config.adapter().loraLayersPattern());
        assertEquals(
                Map.of("q_proj", 4, "model.layers.0.*", 16), config.adapter().loraRankPattern());
        assertEquals(
                List.of("q_proj", "model.layers.0.*"),
                List.copyOf(config.adapter().loraRankPattern().keySet()));
        assertEquals(Map.of("q_proj", 2.5), config.adapter().loraAlphaPattern());
        assertEquals(LoraInit.GAUSSIAN, config.adapter().initLoraWeights());
        assertEquals(Optional.of(false), config.data().completionOnlyLoss());
        DatasetConfig first = config.data().datasets().get(0);
        assertEquals(folder.resolve("conf/a.jsonl"), first.path());
        assertEquals(Optional.of("question"), first.promptField());
        assertEquals(Optional.of("completion"), first.completionField());
        assertEquals(Optional.empty(), first.textField());
        assertEquals(Optional.of(10), config.data().datasets().get(1).limit());
        assertTrue(config.isSet("lora_rank_pattern"));
        assertFalse(config.isSet("lora_r"));
        assertThrows(IllegalArgumentException.class, () -> config.isSet("lora_rr"));
    }

    @Test
    void commandLineOverridesTheFile() throws IOException {
        String text = "seed: 1\nlora_r: 4\ndatasets:\n  - {path: a.jsonl, type: text}\n";
        RunConfig config =
                yaml(
                        text,
                        "--seed",
                        "2",
                        "lora_r=16",
                        "--learning-rate=1e-3",
                        "datasets[0].path=x=y.jsonl",
                        "datasets.1.path=b.jsonl",
                        "datasets.1.type=tokens",
                        "--random-init",
                        "--packing",
                        "lora_alpha=3",
                        "--shuffle",
                        "false",
                        "--max_steps",
                        "-1");
        assertEquals(2, config.train().seed());
        assertEquals(16, config.adapter().loraR());
        assertEquals(1e-3, config.train().learningRate());
        assertEquals(folder.resolve("x=y.jsonl"), config.data().datasets().get(0).path());
        assertEquals(folder.resolve("b.jsonl"), config.data().datasets().get(1).path());
        assertEquals(DatasetType.TOKENS, config.data().datasets().get(1).type());
        assertTrue(config.model().randomInit());
        assertTrue(config.data().packing());
        assertFalse(config.data().shuffle());
        assertEquals(3.0, config.adapter().loraAlpha());
        assertEquals("command line", config.place("seed").orElseThrow().toString());
        assertEquals(
                folder.resolve("conf/run.yaml") + ":3",
                config.place("datasets").orElseThrow().toString());
        assertEquals(3, words("seed=1", "seed=3").train().seed());
    }

    @Test
    void moduleNamesTakeTheirFormsOnTheCommandLine() {
        ModuleNames two = new ModuleNames.Names(List.of("q_proj", "v_proj"));
        for (List<String> form :
                List.of(
                        List.of("lora_target_modules=[q_proj, v_proj]"),
                        List.of("--lora_target_modules", "q_proj,v_proj"),
                        List.of("--lora_target_modules", "q_proj", "v_proj", "seed=1"),
                        List.of("--lora_target_modules=q_proj, v_proj"))) {
            assertEquals(
                    Optional.of(two),
                    words(form.toArray(String[]::new)).adapter().loraTargetModules(),
                    form::toString);
        }
        assertEquals(
                Optional.of(new ModuleNames.AllLinear()),
                words("lora_target_modules=all-linear").adapter().loraTargetModules());
        assertEquals(
                Optional.of(new ModuleNames.Regex("[a-z.]*(q|v)_proj")),
                words("lora_target_modules=[a-z.]*(q|v)_proj").adapter().loraTargetModules());
        assertEquals(
                Optional.of(new ModuleNames.Names(List.of("q_proj"))),
                words("lora_target_modules=q_proj").adapter().loraTargetModules());
        assertEquals(
                Optional.of(List.of(1, 2)),
                words("lora_layers_to_transform=1,2").adapter().loraLayersToTransform());
        assertEquals(
                Map.of("model.layers.0.q_proj", 4),
                words("lora_rank_pattern.model.layers.0.q_proj=4").adapter().loraRankPattern());
    }

    @Test
    void emptyFileMeansDefaultsAndNullMeansNotGiven() throws IOException {
        assertEquals(RunConfig.defaults(), yaml("# nothing\n"));
        RunConfig config = yaml("lora_target_modules: null\ncpu_threads: ~\nmemory_limit:\n");
        assertEquals(RunConfig.defaults(), config);
        assertFalse(config.isSet("lora_target_modules"));
    }

    static LongStream seeds() {
        return LongStream.range(0, 60);
    }

    /** The written configuration reads back as an equal one, whatever was set. */
    @ParameterizedTest
    @MethodSource("seeds")
    void resolvedYamlReadsBackEqual(long seed) throws IOException {
        RunConfig config = words(randomWords(new Random(seed)).toArray(String[]::new));
        String written = config.toYaml();
        Path other = Files.createDirectories(folder.resolve("elsewhere")).resolve("config.yaml");
        Files.writeString(other, written);
        RunConfig again = ConfigLoader.load(Optional.of(other), List.of(), Path.of("/"));
        assertEquals(config, again, written);
        assertEquals(
                written.replaceAll("  # default", ""),
                again.toYaml().replaceAll("  # default", ""));
        assertNotEquals(
                config,
                ConfigLoader.load(Optional.of(other), List.of("seed=123456"), Path.of("/")));
    }

    private static List<String> randomWords(Random random) {
        List<String> words = new ArrayList<>();
        boolean full = random.nextInt(4) == 0;
        words.add("method=" + (full ? "full" : "lora"));
        Stream.of(
                        "model_name_or_path=some folder/\"quoted\": #1 \\ é",
                        "output_dir=~/no",
                        "random_init=true",
                        "dtype=bfloat16",
                        "cpu_threads=2",
                        "memory_limit=" + (1 + random.nextLong(1L << 40)),
                        "learning_rate=" + random.nextDouble(),
                        "adam_epsilon=" + random.nextDouble() * 1e-12,
                        "seed=" + random.nextLong(Long.MAX_VALUE),
                        "warmup_steps=3",
                        "eval_steps=4",
                        random.nextBoolean() ? "max_steps=7" : "num_train_epochs=0.5",
                        "gradient_checkpointing=none",
                        "completion_only_loss=true",
                        "datasets=[{path: a, type: text, text_field: 'no'}, {path: 'b: c', type:"
                                + " tokens, limit: 3}]",
                        random.nextBoolean()
                                ? "eval_split=0.25"
                                : "eval_datasets=[{path: e, type: prompt_completion}]")
                .filter(_ -> random.nextBoolean())
                .forEach(words::add);
        if (!full) {
            Stream.of(
                            "lora_r=3",
                            "lora_alpha=" + (0.5 + random.nextDouble()),
                            random.nextBoolean()
                                    ? "lora_target_modules=.*\\.(q|v)_proj$"
                                    : "lora_target_modules=[q_proj, '1', 'true', 'a b']",
                            "lora_exclude_modules=lm_head",
                            "lora_rank_pattern={'.*q_proj': 2, k_proj: 3}",
                            "lora_alpha_pattern={'layers.0: x': 0.1}",
                            "use_rslora=true",
                            "init_lora_weights=gaussian")
                    .filter(_ -> random.nextBoolean())
                    .forEach(words::add);
        }
        return words;
    }

    @Test
    void savedAdapterWinsUnlessAGivenKeyDiffers() throws IOException {
        AdapterSettings saved =
                words("lora_r=4", "lora_alpha=16", "lora_target_modules=q_proj").adapter();
        RunConfig config =
                yaml("seed: 1\nlora_r: 4\n").withSavedAdapter(saved, Path.of("out"), Set.of());
        assertEquals(saved, config.adapter());
        RunConfig other = yaml("seed: 1\nlora_r: 8\n");
        assertEquals(
                folder.resolve("conf/run.yaml")
                        + ":2: lora_r is 8, but the adapter in out has 4; remove the key or start a"
                        + " new adapter",
                assertThrows(
                                JloraException.class,
                                () -> other.withSavedAdapter(saved, Path.of("out"), Set.of()))
                        .getMessage());
    }

    @Test
    void eachPurposeSaysWhatItMisses() throws IOException {
        Path model = Files.createDirectories(folder.resolve("model"));
        Path data = Files.writeString(folder.resolve("a.jsonl"), "{}");
        String m = "model_name_or_path=" + model;
        String d = "datasets=[{path: " + data + ", type: text}]";
        String o = "output_dir=out";
        words(m, d, o).require(Purpose.TRAIN);
        words(m).require(Purpose.PLAN);
        words(m, d).require(Purpose.EVAL);
        words(m, "eval_" + d).require(Purpose.EVAL);
        missing("model_name_or_path", Purpose.PLAN);
        missing("datasets", Purpose.TRAIN, m, o);
        missing("output_dir", Purpose.TRAIN, m, d);
        missing("eval_datasets", Purpose.EVAL, m);
        missing("adapter_name_or_path", Purpose.MERGE, m, o);
        assertEquals(
                "command line: model_name_or_path "
                        + folder.resolve("absent")
                        + " does not exist; download the model first (hf download NAME --local-dir"
                        + " FOLDER) and give its folder",
                requireError(Purpose.PLAN, "model_name_or_path=absent"));
        assertEquals(
                "command line: datasets[0].path "
                        + folder.resolve("b.jsonl")
                        + " does not exist; correct the path",
                requireError(Purpose.TRAIN, m, o, "datasets=[{path: b.jsonl, type: text}]"));
        assertEquals(
                "command line: datasets[0].path "
                        + model
                        + " is a folder; name one JSON Lines file",
                requireError(Purpose.TRAIN, m, o, "datasets=[{path: model, type: text}]"));
        assertEquals(
                "command line: there is nothing to evaluate on; give eval_datasets or eval_split,"
                        + " or remove the key",
                requireError(Purpose.TRAIN, m, o, d, "eval_steps=2"));
    }

    private void missing(String key, Purpose purpose, String... words) {
        String message = requireError(purpose, words);
        assertTrue(message.startsWith("configuration: " + key + " is missing; it names "), message);
    }

    private String requireError(Purpose purpose, String... words) {
        return assertThrows(JloraException.class, () -> words(words).require(purpose)).getMessage();
    }

    @Test
    void byteSizesReadBackAsTheSameNumber() {
        assertEquals(12L << 30, ByteSize.parse("12GiB").orElseThrow().bytes());
        assertEquals(12L << 30, ByteSize.parse("12 gib").orElseThrow().bytes());
        assertEquals(12L << 30, ByteSize.parse("12G").orElseThrow().bytes());
        assertEquals(12_000_000_000L, ByteSize.parse("12GB").orElseThrow().bytes());
        assertEquals(1536, ByteSize.parse("1.5KiB").orElseThrow().bytes());
        assertEquals(7, ByteSize.parse("7").orElseThrow().bytes());
        for (String wrong : List.of("", "0", "-1", "12iB", "x", "99999999999TiB", "1e9", "GiB")) {
            assertEquals(Optional.empty(), ByteSize.parse(wrong), wrong);
        }
        Random random = new Random(5);
        IntStream.range(0, 200)
                .mapToObj(_ -> new ByteSize(1 + (random.nextLong() >>> (1 + random.nextInt(60)))))
                .forEach(
                        size ->
                                assertEquals(
                                        Optional.of(size),
                                        ByteSize.parse(size.toString()),
                                        size::toString));
    }

    @Test
    void acceptsPeftsOwnNamesOfAdapterKeys() throws IOException {
        RunConfig config = yaml("r: 4\ntarget_modules: [c_attn]\nrank_pattern: {c_attn: 2}\n");
        assertEquals(4, config.adapter().loraR());
        assertEquals(Map.of("c_attn", 2), config.adapter().loraRankPattern());
        assertTrue(config.isSet("lora_target_modules"));
    }

    @Test
    void refusesAKeyUnderTwoNames() {
        JloraException e = assertThrows(JloraException.class, () -> yaml("lora_r: 4\nr: 4\n"));
        assertTrue(e.getMessage().contains("r is another name of lora_r"), e.getMessage());
    }
}
