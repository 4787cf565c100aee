package jlora.trainer.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** Each wrong configuration is one sentence with its place, its cause and what to do. */
class ConfigErrorTest {
    @TempDir Path folder;

    private String error(String yaml, String... words) throws IOException {
        Path file = folder.resolve("run.yaml");
        Files.writeString(file, yaml);
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () -> ConfigLoader.load(Optional.of(file), List.of(words), folder));
        assertEquals(ExitCode.USAGE, e.exitCode());
        return e.getMessage().replace(folder + "/", "");
    }

    private String commandLineError(String... words) {
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () -> ConfigLoader.load(Optional.empty(), List.of(words), folder));
        assertEquals(ExitCode.USAGE, e.exitCode());
        return e.getMessage().replace(folder + "/", "");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "learing_rate|learning_rate",
                "lora_rr|lora_r",
                "lora_aplha|lora_alpha",
                "gradient_acumulation_step|gradient_accumulation_steps",
                "max_seq_length|max_length",
                "lora_rank|lora_r",
                "lr|learning_rate",
                "Seed|seed",
                "model|model_name_or_path"
            })
    void unknownKeyNamesTheNearestOne(String wrong, String right) throws IOException {
        assertEquals(
                "run.yaml:2: unknown key '" + wrong + "'; did you mean '" + right + "'?",
                error("seed: 1\n" + wrong + ": 3\n"));
    }

    @ParameterizedTest
    @CsvSource({"push_to_hub", "zebra", "x", "hub_token"})
    void unknownKeyThatResemblesNoneMakesNoGuess(String wrong) throws IOException {
        assertEquals(
                "run.yaml:1: unknown key '" + wrong + "'; 'jlora config keys' lists all",
                error(wrong + ": 500\n"));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "lora_r: eight|lora_r is 'eight', but must be a whole number",
                "lora_r: 8.5|lora_r is '8.5', but must be a whole number",
                "lora_r: '8'|lora_r is text in quotes, but must be a whole number; remove the"
                        + " quotes",
                "lora_r: [8]|lora_r is a list, but must be a whole number",
                "lora_r: {a: 1}|lora_r is a mapping of keys to values, but must be a whole number",
                "lora_r:|lora_r has no value; give one or remove the key to use its default",
                "lora_r: 99999999999|lora_r is 99999999999, but must be at most 2147483647 in size",
                "lora_r: 0|lora_r is 0, but must be at least 1 and at most 65536",
                "lora_alpha: 0|lora_alpha is 0.0, but must be greater than 0",
                "lora_alpha: .nan|lora_alpha is '.nan', but must be a number",
                "learning_rate: -1e-4|learning_rate is -1.0e-4, but must be at least 0",
                "learning_rate: 1e999|learning_rate is '1e999', but must be a number",
                "lora_dropout: 1.0|lora_dropout is 1.0, but must be at least 0 and less than 1",
                "packing: yes|packing is 'yes', but must be true or false",
                "dtype: bflaot16|dtype is 'bflaot16', but must be one of auto, float32, bfloat16;"
                        + " did you mean 'bfloat16'?",
                "dtype: fp8|dtype is 'fp8', but must be one of auto, float32, bfloat16",
                "device: tpu|device is 'tpu', but must be auto, cpu, cuda or cuda:N such as cuda:0",
                "memory_limit: lots|memory_limit is 'lots', but must be a size such as 12GiB, 800MB"
                        + " or a number of bytes",
                "max_steps: 0|max_steps is 0, but must be at least 1",
                "eval_split: 2.5|eval_split is 2.5, but must be a share below 1 or a whole number"
                        + " of rows",
                "warmup_steps: 2.5|warmup_steps is 2.5, but must be a whole number of steps or a"
                        + " share below 1",
                "eval_strategy: steps2|eval_strategy is 'steps2', but must be one of no, steps,"
                        + " epoch; did you mean 'steps'?",
                "lora_target_modules: []|lora_target_modules is an empty list; name at least one"
                        + " module or remove the key",
                "lora_target_modules: '(q_proj'|lora_target_modules is not a regular expression"
                        + " (Unclosed group); correct it or give a list of names",
                "lora_exclude_modules: all-linear|lora_exclude_modules cannot be all-linear, which"
                        + " would leave nothing to train; list the modules to leave out",
                "lora_layers_pattern: h|lora_layers_pattern has no effect without"
                        + " lora_layers_to_transform; give the layers or remove it",
                "lora_layers_to_transform: [0, -1]|lora_layers_to_transform is -1, but must be at"
                        + " least 0 and at most 65536",
                "lora_rank_pattern: {q_proj: 0}|lora_rank_pattern.q_proj is 0, but must be at least"
                        + " 1 and at most 65536",
                "lora_rank_pattern: 4|lora_rank_pattern is '4', but must be a mapping of module"
                        + " names to numbers such as {q_proj: 16}",
                "datasets: a.jsonl|datasets is 'a.jsonl', but must be a list of data sets such as"
                        + " [{path: train.jsonl, type: text}]",
                "datasets: [a.jsonl]|datasets[0] is 'a.jsonl', but must be a mapping such as {path:"
                        + " train.jsonl, type: prompt_completion}",
                "datasets: [{path: a}]|datasets[0] has no type; add it",
                "datasets: [{path: a, type: json}]|datasets[0].type is 'json', but must be one of"
                        + " text, prompt_completion, tokens",
                "datasets: [{path: a, type: text, pth: b}]|unknown key 'datasets[0].pth'; did you"
                        + " mean 'datasets[0].path'?",
                "datasets: [{path: a, type: text, limit: 0}]|datasets[0]: limit is 0, but must be"
                        + " at least 1",
                "datasets: [{path: a, type: tokens, text_field: b}]|datasets[0]: text_field has no"
                        + " meaning for a data set of type tokens; remove it or set type: text",
                "output_dir: ''|output_dir is empty; give a path or remove the key",
                "lora_r: !!python/object 8|the tag 'tag:yaml.org,2002:python/object' has no meaning"
                        + " here; remove it and write the plain value",
                "[1]: 2|a key is a list; keys are plain names such as 'lora_r'"
            })
    void wrongValueIsNamedWithItsLine(String line, String sentence) throws IOException {
        assertEquals("run.yaml:2: " + sentence, error("seed: 1\n" + line + "\n"));
    }

    @Test
    void keysThatExcludeEachOtherNameBothLines() throws IOException {
        assertEquals(
                "run.yaml:1, run.yaml:2: eval_split and eval_datasets are both given; keep the one"
                        + " that names the evaluation rows",
                error("eval_split: 5\neval_datasets: [{path: a, type: text}]\n"));
        assertEquals(
                "run.yaml:1, run.yaml:2: lora_layers_to_transform cannot be combined with a regular"
                    + " expression as lora_target_modules; write the layers into the expression or"
                    + " list the modules by name",
                error("lora_layers_to_transform: 1\nlora_target_modules: .*q_proj\n"));
        assertEquals(
                "run.yaml:2: lora_r has no effect with method full, which trains every weight;"
                        + " remove it or set method: lora",
                error("method: full\nlora_r: 4\n"));
        assertEquals(
                "run.yaml:1: shard_base is about frozen weights, and method full freezes none;"
                        + " remove it or set method: lora",
                error("shard_base: true\nmethod: full\n"));
        assertEquals(
                "run.yaml:2: adapter_name_or_path has no effect with method full, which trains"
                        + " every weight; remove it or set method: lora",
                error("method: full\nadapter_name_or_path: a\n"));
    }

    @Test
    void duplicateKeyNamesBothLines() throws IOException {
        assertEquals(
                "run.yaml:3: key 'seed' is given twice, first at run.yaml:1; remove one of them",
                error("seed: 1\nlora_r: 2\nseed: 2\n"));
        assertEquals(
                "run.yaml:3: key 'path' is given twice, first at run.yaml:2; remove one of them",
                error("datasets:\n  - path: a\n    path: b\n"));
    }

    @Test
    void allProblemsAreReportedOnePerLine() throws IOException {
        assertEquals(
                "run.yaml:1: unknown key 'sed'; did you mean 'seed'?\n"
                        + "run.yaml:2: lora_r is 'x', but must be a whole number\n"
                        + "command line: packing is 'maybe', but must be true or false",
                error("sed: 1\nlora_r: x\n", "--packing", "maybe"));
    }

    @Test
    void brokenYamlNamesTheLine() throws IOException {
        String unclosed = error("seed: 1\nlora_target_modules: [q_proj\nlora_r: 8\n");
        assertTrue(unclosed.startsWith("run.yaml:3: not valid YAML, "), unclosed);
        assertFalse(unclosed.contains("\n"), unclosed);
        String tab = error("datasets:\n\t- path: a\n");
        assertTrue(tab.startsWith("run.yaml:2: not valid YAML, "), tab);
        String control = error("seed: \u0001\n");
        assertTrue(control.startsWith("run.yaml:1: not valid YAML, "), control);
        assertEquals(
                "run.yaml:1: the file holds a list where keys are expected; write lines such as"
                        + " 'lora_r: 8'",
                error("- a\n- b\n"));
        String documents = error("seed: 1\n---\nseed: 2\n");
        assertTrue(documents.startsWith("run.yaml:2: not valid YAML, "), documents);
    }

    @Test
    void hostileYamlEndsInASentence() throws IOException {
        String deep = error("seed: " + "[".repeat(200_000) + "\n");
        assertTrue(deep.startsWith("run.yaml:1: nested too deeply"), deep);
        StringBuilder bomb = new StringBuilder("a0: &a0 [x, x]\n");
        for (int i = 1; i < 20; i++) {
            bomb.append("a%d: &a%d [*a%d, *a%d]\n".formatted(i, i, i - 1, i - 1));
        }
        String repeated = error(bomb.toString());
        assertTrue(repeated.contains("more than 100000 values"), repeated);
        String recursive = error("datasets: &d\n  - *d\n");
        assertTrue(recursive.startsWith("run.yaml:"), recursive);
    }

    @Test
    void unreadableFileIsNamed() throws IOException {
        Path missing = folder.resolve("absent.yaml");
        assertEquals(
                missing + ": there is no such configuration file; check the path given with -c",
                assertThrows(
                                JloraException.class,
                                () -> RunConfig.load(Optional.of(missing), List.of()))
                        .getMessage());
        assertEquals(
                folder + ": is a folder; name the YAML file in it",
                assertThrows(
                                JloraException.class,
                                () -> RunConfig.load(Optional.of(folder), List.of()))
                        .getMessage());
        Path latin = folder.resolve("latin.yaml");
        Files.write(latin, "output_dir: caf\u00e9\n".getBytes(StandardCharsets.ISO_8859_1));
        assertEquals(
                latin + ": not UTF-8 text; save the configuration as UTF-8",
                assertThrows(
                                JloraException.class,
                                () -> RunConfig.load(Optional.of(latin), List.of()))
                        .getMessage());
    }

    @Test
    void wrongWordsOnTheCommandLineAreNamed() {
        assertEquals(
                "command line: 'train.jsonl' sets nothing; write --key value or key=value",
                commandLineError("train.jsonl"));
        assertEquals(
                "command line: '--' sets nothing; write --key value or key=value",
                commandLineError("--"));
        assertEquals(
                "command line: --lora_r has no value; write --lora_r value",
                commandLineError("--lora_r"));
        assertEquals(
                "command line: --lora_r has no value; write --lora_r value",
                commandLineError("--lora_r", "--packing"));
        assertEquals(
                "command line: unknown key 'lora_rr'; did you mean 'lora_r'?",
                commandLineError("--lora-rr", "8"));
        assertEquals(
                "command line: unknown key 'sead'; did you mean 'seed'?",
                commandLineError("--sead"));
        assertEquals(
                "command line: lora_r is 0, but must be at least 1 and at most 65536",
                commandLineError("lora_r=0"));
        assertEquals(
                "command line: datasets[1] skips entries; the next free one is datasets[0]",
                commandLineError("datasets[1].path=x"));
        assertEquals(
                "command line: 'datasets.path' is not a part of datasets; write"
                        + " datasets[0].path=FILE",
                commandLineError("datasets.path=x"));
        assertEquals(
                "command line: seed has no parts to set; write --seed value",
                commandLineError("seed.x=1"));
        String yaml = commandLineError("lora_target_modules=[q_proj, {]");
        assertTrue(yaml.startsWith("command line: not valid YAML, "), yaml);
    }

    static Stream<Keys.Info> boundedKeys() {
        List<Keys.Info> keys = new ArrayList<>(RunConfig.keys());
        return keys.stream().filter(k -> k.bounds().isPresent());
    }

    /** Every bound of an annotation is enforced by its record, so none can be forgotten. */
    @ParameterizedTest
    @MethodSource("boundedKeys")
    void everyBoundIsEnforced(Keys.Info info) {
        Bounds bounds = info.bounds().orElseThrow();
        boolean whole = !info.component().getGenericType().getTypeName().matches(".*[Dd]ouble.*");
        List<String> outside = new ArrayList<>();
        outside.add(
                number(
                        bounds.lowIncluded() ? bounds.low() - (whole ? 1 : 0.25) : bounds.low(),
                        whole));
        if (Double.isFinite(bounds.high())) {
            outside.add(
                    number(
                            bounds.highIncluded()
                                    ? bounds.high() + (whole ? 1 : 0.25)
                                    : bounds.high(),
                            whole));
        }
        for (String value : outside) {
            String message =
                    commandLineError(
                            info.name() + "=" + (info.isMap() ? "{x: " + value + "}" : value));
            assertTrue(message.startsWith("command line: " + info.name()), message);
            assertTrue(message.contains("but must be " + bounds.words()), message);
        }
    }

    private static String number(double value, boolean whole) {
        return whole ? Long.toString((long) value) : Double.toString(value);
    }
}
