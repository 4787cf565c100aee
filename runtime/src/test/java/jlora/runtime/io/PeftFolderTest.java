package jlora.runtime.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.adapter.lora.LoraConfig;
import jlora.runtime.adapter.lora.LoraInit;
import jlora.runtime.adapter.lora.LoraSpec;
import jlora.runtime.adapter.lora.TargetModules;
import jlora.runtime.io.PeftFolder.Features;
import jlora.runtime.io.PeftFolder.Trained;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

class PeftFolderTest {
    @TempDir Path folder;

    private final List<MemoryArena> arenas = new ArrayList<>();

    @AfterEach
    void free() {
        arenas.forEach(MemoryArena::close);
    }

    private static final Map<String, Features> LINEARS = linears();

    private static Map<String, Features> linears() {
        Map<String, Features> linears = new LinkedHashMap<>();
        for (int layer = 0; layer < 2; layer++) {
            linears.put("h." + layer + ".attn.q", new Features(6, 4));
            linears.put("h." + layer + ".attn.proj", new Features(4, 6));
            linears.put("h." + layer + ".mlp.proj", new Features(10, 6));
        }
        return linears;
    }

    /** A tensor with pad columns whose element [r,c] is start + 100·r + c. */
    private Tensor tensor(long rows, long cols, int pad, float start) {
        Tensor tensor = Tensor.padded("t", Storage.Role.ADAPTER, DType.F32, rows, cols, pad);
        MemoryArena arena = MemoryArena.host("t", tensor.storage().bytes());
        arenas.add(arena);
        arena.place(tensor.storage(), 0);
        tensor.segment().fill((byte) 0x7f);
        for (long r = 0; r < rows; r++) {
            for (long c = 0; c < cols; c++) {
                tensor.segment()
                        .set(
                                ValueLayout.JAVA_FLOAT,
                                tensor.byteOffset(r) + 4 * c,
                                start + 100 * r + c);
            }
        }
        return tensor;
    }

    private List<Trained> trained(LoraConfig config) {
        List<Trained> trained = new ArrayList<>();
        config.select(LINEARS.keySet())
                .forEach(
                        (module, spec) -> {
                            Features f = LINEARS.get(module);
                            trained.add(
                                    new Trained(
                                            module,
                                            tensor(spec.rank(), f.in(), 3, 1),
                                            tensor(f.out(), spec.rank(), 0, 2)));
                        });
        return trained;
    }

    private static final PeftFolder.Base BASE =
            new PeftFolder.Base(Optional.of("sampled-sha256:x"), Optional.of("nf4"));

    private void write(LoraConfig config) {
        PeftFolder.write(folder, config, trained(config), LINEARS.keySet(), BASE);
    }

    private static LoraConfig config(TargetModules targets) {
        return LoraConfig.of(2, 4, targets).withBase("some/base", false);
    }

    private ObjectNode json() {
        return Json.readObject(folder.resolve("adapter_config.json"));
    }

    private void rewrite(ObjectNode json) throws IOException {
        Files.write(folder.resolve("adapter_config.json"), Json.pretty(json));
    }

    private JloraException refused() {
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () -> {
                            try (PeftFolder opened = PeftFolder.open(folder)) {
                                opened.check(LINEARS);
                            }
                        });
        assertTrue(e.getMessage().startsWith(folder.toString()), e.getMessage());
        return e;
    }

    private static void assertSays(JloraException e, ExitCode code, String... parts) {
        assertEquals(code, e.exitCode(), e.getMessage());
        for (String part : parts) {
            assertTrue(e.getMessage().contains(part), e.getMessage());
        }
    }

    @Test
    void whatIsWrittenReadsBack() {
        LoraConfig config = config(TargetModules.names("q", "mlp.proj"));
        write(config);
        try (PeftFolder opened = PeftFolder.open(folder)) {
            assertEquals(config, opened.config());
            assertEquals(BASE, opened.base());
            SequencedMap<String, LoraSpec> checked = opened.check(LINEARS);
            assertEquals(
                    List.of("h.0.attn.q", "h.0.mlp.proj", "h.1.attn.q", "h.1.mlp.proj"),
                    List.copyOf(checked.keySet()));
            assertEquals(new LoraSpec(2, 2, 0), checked.get("h.1.attn.q"));
            SafetensorsEntry a = opened.modules().get("h.1.mlp.proj").a();
            assertEquals("base_model.model.h.1.mlp.proj.lora_A.weight", a.name());
            assertEquals(110f, a.data().getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, 19));
            Tensor copy = tensor(2, 10, 0, 0);
            TensorCopy.copy(a, copy);
            assertEquals(101f, copy.segment().get(ValueLayout.JAVA_FLOAT, copy.byteOffset(1)));
        }
    }

    @Test
    void theConfigurationIsTheFileThatPeftWrites() throws IOException {
        write(config(TargetModules.names("q", "mlp.proj")));
        assertEquals(
                """
                {
                  "alora_invocation_tokens": null,
                  "alpha_pattern": {},
                  "arrow_config": null,
                  "auto_mapping": null,
                  "base_model_name_or_path": "some/base",
                  "bias": "none",
                  "corda_config": null,
                  "ensure_weight_tying": false,
                  "eva_config": null,
                  "exclude_modules": null,
                  "fan_in_fan_out": false,
                  "inference_mode": true,
                  "init_lora_weights": true,
                  "kasa_config": null,
                  "layer_replication": null,
                  "layers_pattern": null,
                  "layers_to_transform": null,
                  "loftq_config": {},
                  "lora_alpha": 4,
                  "lora_bias": false,
                  "lora_dropout": 0.0,
                  "lora_ga_config": null,
                  "megatron_config": null,
                  "megatron_core": "megatron.core",
                  "modules_to_save": null,
                  "monteclora_config": null,
                  "peft_type": "LORA",
                  "peft_version": "0.21.0",
                  "qalora_group_size": 16,
                  "r": 2,
                  "rank_pattern": {},
                  "revision": null,
                  "target_modules": [
                    "mlp.proj",
                    "q"
                  ],
                  "target_parameters": null,
                  "task_type": "CAUSAL_LM",
                  "trainable_token_indices": null,
                  "use_bdlora": null,
                  "use_dora": false,
                  "use_qalora": false,
                  "use_rslora": false,
                  "velora_config": null
                }\
                """,
                Files.readString(folder.resolve("adapter_config.json"), StandardCharsets.UTF_8));
    }

    @Test
    void everySettingSurvivesTheFile() {
        LoraConfig config =
                new LoraConfig(
                        2,
                        4.5,
                        TargetModules.names("q", "proj"),
                        Optional.of(new TargetModules.Regex("h\\.0\\.attn\\..*")),
                        0.25,
                        true,
                        LoraInit.GAUSSIAN,
                        List.of(0, 1),
                        List.of("h"),
                        Map.of("mlp.proj", 3),
                        Map.of("q", 7.0),
                        true,
                        Optional.of("b"),
                        Optional.of("main"),
                        Optional.empty());
        write(config);
        try (PeftFolder opened = PeftFolder.open(folder)) {
            assertEquals(config, opened.config());
            assertEquals(config.select(LINEARS.keySet()), opened.check(LINEARS));
        }
    }

    @Test
    void allLinearIsWrittenAsNames() {
        write(config(new TargetModules.AllLinear()));
        assertEquals("[\"proj\",\"q\"]", json().get("target_modules").toString());
        try (PeftFolder opened = PeftFolder.open(folder)) {
            assertEquals(LINEARS.keySet(), opened.check(LINEARS).keySet());
        }
    }

    @Test
    void anAllLinearWhoseEndingsAreAmbiguousKeepsItsExclusion() {
        LoraConfig config =
                new LoraConfig(
                        2,
                        4,
                        new TargetModules.AllLinear(),
                        Optional.of(TargetModules.names("attn.proj")),
                        0,
                        false,
                        LoraInit.KAIMING_UNIFORM,
                        List.of(),
                        List.of(),
                        Map.of(),
                        Map.of(),
                        false,
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty());
        write(config);
        try (PeftFolder opened = PeftFolder.open(folder)) {
            assertEquals(config.select(LINEARS.keySet()), opened.config().select(LINEARS.keySet()));
        }
    }

    @Test
    void patternsThatDependOnTheirOrderAreWrittenPerModule() {
        Map<String, Integer> ranks = new LinkedHashMap<>();
        ranks.put("mlp.proj", 3);
        ranks.put(".*proj", 5);
        Map<String, Double> alphas = new LinkedHashMap<>();
        alphas.put("q", 6.0);
        alphas.put("[a-z.0-9]*", 9.0);
        LoraConfig config =
                config(new TargetModules.AllLinear())
                        .withTargets(TargetModules.names("q", "proj"), ranks, alphas);
        write(config);
        try (PeftFolder opened = PeftFolder.open(folder)) {
            SequencedMap<String, LoraSpec> read = opened.check(LINEARS);
            assertEquals(config.select(LINEARS.keySet()), read);
            assertEquals(new LoraSpec(3, 3, 0), read.get("h.0.mlp.proj"));
            assertEquals(new LoraSpec(5, 1.8f, 0), read.get("h.0.attn.proj"));
            assertEquals(new LoraSpec(2, 3, 0), read.get("h.0.attn.q"));
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "use_dora|true",
                "bias|\"all\"",
                "lora_bias|true",
                "modules_to_save|[\"norm\"]",
                "trainable_token_indices|[1]",
                "layer_replication|[[0,1]]",
                "target_parameters|[\"x\"]",
                "megatron_config|{\"a\": 1}",
                "megatron_core|\"other\"",
                "loftq_config|{\"loftq_bits\": 4}",
                "eva_config|{\"rho\": 2.0}",
                "corda_config|{\"a\": 1}",
                "lora_ga_config|{\"a\": 1}",
                "arrow_config|{\"a\": 1}",
                "kasa_config|{\"a\": 1}",
                "velora_config|{\"a\": 1}",
                "monteclora_config|{\"a\": 1}",
                "use_bdlora|{\"a\": 1}",
                "use_qalora|true",
                "qalora_group_size|32",
                "ensure_weight_tying|true",
                "alora_invocation_tokens|[5]",
                "merge_weights|true",
                "init_lora_weights|\"pissa\"",
                "task_type|\"SEQ_CLS\"",
                "a_future_field|0",
                "a_future_field|false",
                "r|0",
                "lora_alpha|-1",
                "target_modules|null",
                "target_modules|[]",
                "target_modules|\"(a\""
            })
    void aSettingThatWouldChangeTheResultIsRefusedByName(String field, String value)
            throws IOException {
        write(config(TargetModules.names("q")));
        ObjectNode json = json();
        json.set(
                field,
                Json.parseObject("f", 1, ("{\"v\":" + value + "}").getBytes(StandardCharsets.UTF_8))
                        .get("v"));
        rewrite(json);
        JloraException e = refused();
        assertSays(e, ExitCode.USAGE, "adapter_config.json", field);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "use_dora|false",
                "modules_to_save|[]",
                "loftq_config|null",
                "rank_pattern|null",
                "exclude_modules|[]",
                "exclude_modules|\"\"",
                "layers_to_transform|[]",
                "layers_pattern|[]",
                "layers_pattern|\"\"",
                "init_lora_weights|false",
                "merge_weights|false",
                "enable_lora|null",
                "a_future_field|null",
                "peft_version|\"0.99\"",
                "auto_mapping|{\"base_model_class\": \"X\"}",
                "inference_mode|false",
                "lora_alpha|4.0",
                "task_type|null"
            })
    void aSettingWithoutEffectIsRead(String field, String value) throws IOException {
        write(config(TargetModules.names("q")));
        ObjectNode json = json();
        json.set(
                field,
                Json.parseObject("f", 1, ("{\"v\":" + value + "}").getBytes(StandardCharsets.UTF_8))
                        .get("v"));
        rewrite(json);
        try (PeftFolder opened = PeftFolder.open(folder)) {
            assertEquals(2, opened.check(LINEARS).size());
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "r|\"8\"",
                "r|8.5",
                "lora_alpha|true",
                "use_rslora|1",
                "target_modules|[1]",
                "rank_pattern|[1]",
                "rank_pattern|{\"q\": \"x\"}",
                "layers_to_transform|[\"a\"]",
                "base_model_name_or_path|3"
            })
    void anIllTypedSettingIsRefusedByName(String field, String value) throws IOException {
        write(config(TargetModules.names("q")));
        ObjectNode json = json();
        json.set(
                field,
                Json.parseObject("f", 1, ("{\"v\":" + value + "}").getBytes(StandardCharsets.UTF_8))
                        .get("v"));
        rewrite(json);
        assertSays(refused(), ExitCode.CORRUPT_INPUT, "adapter_config.json: " + field);
    }

    @Test
    void otherMethodsAreNamed() throws IOException {
        write(config(TargetModules.names("q")));
        rewrite(json().put("peft_type", "IA3"));
        assertSays(refused(), ExitCode.USAGE, "peft_type is 'IA3'");
        ObjectNode json = json();
        json.remove("peft_type");
        rewrite(json);
        assertSays(refused(), ExitCode.USAGE, "peft_type is missing");
    }

    @Test
    void defaultsAreThoseOfPeft() throws IOException {
        write(LoraConfig.of(8, 8, TargetModules.names("q")));
        rewrite(
                (ObjectNode)
                        Json.object()
                                .put("peft_type", "LORA")
                                .set("target_modules", json().get("target_modules")));
        try (PeftFolder opened = PeftFolder.open(folder)) {
            assertEquals(8, opened.config().r());
            assertEquals(8.0, opened.config().loraAlpha());
            assertEquals(2, opened.check(LINEARS).size());
        }
    }

    @Test
    void missingFilesAndPicklesAreSentences() throws IOException {
        assertSays(refused(), ExitCode.CORRUPT_INPUT, "has no adapter_config.json");
        write(config(TargetModules.names("q")));
        Files.delete(folder.resolve("adapter_model.safetensors"));
        assertSays(refused(), ExitCode.CORRUPT_INPUT, "has no adapter_model.safetensors");
        Files.writeString(folder.resolve("adapter_model.bin"), "x");
        assertSays(refused(), ExitCode.CORRUPT_INPUT, "adapter_model.bin", "pickle");
        JloraException e =
                assertThrows(
                        JloraException.class, () -> PeftFolder.open(folder.resolve("x")).close());
        assertSays(e, ExitCode.USAGE, "no such adapter folder");
    }

    private void tensors(String... namesAndShapes) {
        SafetensorsWriter writer = new SafetensorsWriter();
        for (String text : namesAndShapes) {
            String[] parts = text.split(" ");
            long[] shape = new long[parts.length - 1];
            long elements = 1;
            for (int i = 0; i < shape.length; i++) {
                shape[i] = Long.parseLong(parts[i + 1]);
                elements *= shape[i];
            }
            writer.tensor(
                    parts[0],
                    SafetensorsType.F32,
                    shape,
                    java.lang.foreign.MemorySegment.ofArray(new float[(int) elements]));
        }
        writer.write(folder.resolve("adapter_model.safetensors"));
    }

    private static final String Q0 = "base_model.model.h.0.attn.q.lora_";
    private static final String Q1 = "base_model.model.h.1.attn.q.lora_";

    @Test
    void missingExtraAndMisshapenTensorsAreNamed() {
        write(config(TargetModules.names("q")));
        String[] right = {
            Q0 + "A.weight 2 6", Q0 + "B.weight 4 2", Q1 + "A.weight 2 6", Q1 + "B.weight 4 2"
        };
        tensors(right);
        try (PeftFolder opened = PeftFolder.open(folder)) {
            assertEquals(PeftFolder.Base.UNKNOWN, opened.base());
            assertEquals(2, opened.check(LINEARS).size());
        }
        String other = "was this adapter trained for another base model?";
        tensors(right[0], right[1]);
        assertSays(refused(), ExitCode.CORRUPT_INPUT, Q1 + "A.weight' is missing", other);
        tensors(right[0], right[1], right[2]);
        assertSays(refused(), ExitCode.CORRUPT_INPUT, "lacks the lora_B of 'h.1.attn.q'");
        tensors(right[0], right[1], right[3]);
        assertSays(refused(), ExitCode.CORRUPT_INPUT, "lacks the lora_A of 'h.1.attn.q'");
        tensors(right[0], right[1], Q1 + "A.weight 2 7", right[3]);
        assertSays(refused(), ExitCode.CORRUPT_INPUT, Q1 + "A.weight", "should be [2, 6]", other);
        tensors(right[0], right[1], right[2], Q1 + "B.weight 5 2");
        assertSays(refused(), ExitCode.CORRUPT_INPUT, Q1 + "B.weight", "should be [4, 2]", other);
        tensors(right[0], right[1], Q1 + "A.weight 3 6", Q1 + "B.weight 4 3");
        assertSays(refused(), ExitCode.CORRUPT_INPUT, Q1 + "A.weight", "should be [2, 6]", other);
        tensors(right[0], right[1], right[2], Q1 + "B.weight 4 3");
        assertSays(refused(), ExitCode.CORRUPT_INPUT, "are not [r, in] and [out, r]");
        tensors(right[0], right[1], Q1 + "A.weight 12", right[3]);
        assertSays(refused(), ExitCode.CORRUPT_INPUT, "are not [r, in] and [out, r]");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "base_model.model.h.0.attn.q.lora_magnitude_vector",
                "base_model.model.wte.lora_embedding_A",
                "base_model.model.lm_head.weight",
                "base_model.model.h.0.attn.q.lora_A",
                "h.0.attn.q.lora_A.weight",
                "base_model.model.lora_A.weight"
            })
    void tensorsOfOtherKindsAreNamed(String name) {
        write(config(TargetModules.names("q")));
        tensors(name + " 2 6");
        assertSays(refused(), ExitCode.CORRUPT_INPUT, name, "all that jlora reads");
    }

    @Test
    void anAdapterForAnotherModelIsRecognised() {
        write(config(TargetModules.names("q")));
        try (PeftFolder opened = PeftFolder.open(folder)) {
            JloraException e =
                    assertThrows(
                            JloraException.class,
                            () -> opened.check(Map.of("model.c_attn", new Features(1, 1))));
            assertSays(
                    e,
                    ExitCode.CORRUPT_INPUT,
                    "selects no module of this model; it has c_attn",
                    "was this adapter trained for another base model?");
            Map<String, Features> fewer = new LinkedHashMap<>(LINEARS);
            fewer.remove("h.1.attn.q");
            assertSays(
                    assertThrows(JloraException.class, () -> opened.check(fewer)),
                    ExitCode.CORRUPT_INPUT,
                    "'" + Q1 + "A.weight' belongs to a module that the model does not have");
        }
    }

    @Test
    void aFolderThatCannotBeMadeIsASentence() throws IOException {
        Path file = Files.writeString(folder.resolve("taken"), "x");
        LoraConfig config = config(TargetModules.names("q"));
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () ->
                                PeftFolder.write(
                                        file,
                                        config,
                                        trained(config),
                                        LINEARS.keySet(),
                                        PeftFolder.Base.UNKNOWN));
        assertSays(e, ExitCode.CHECKPOINT_IO, "could not be made");
    }
}
