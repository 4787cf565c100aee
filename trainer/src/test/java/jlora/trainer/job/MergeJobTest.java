package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.adapter.lora.LoraSpec;
import jlora.runtime.io.HuggingFaceFolder;
import jlora.runtime.io.PeftFolder;
import jlora.runtime.io.SafetensorsEntry;
import jlora.runtime.io.SafetensorsFile;
import jlora.runtime.io.SafetensorsType;
import jlora.runtime.io.SafetensorsWriter;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.Stream;

/** Merged model folders against plain f64 arithmetic on the tensors of base and adapter. */
class MergeJobTest {
    private static final Path CASES = Path.of("src/test/resources/parity");
    private static final String PREFIX = "base_model.model.";

    @TempDir private Path temp;

    private static Path base(String name) {
        return CASES.resolve("bases").resolve(name);
    }

    private interface Values {
        float at(String tensor, int index);
    }

    /** The adapter of a case with other values. */
    private Path adapter(String name, Values values) throws IOException {
        Path from = CASES.resolve(name).resolve("adapter_init");
        Path to = Files.createTempDirectory(temp, "adapter");
        Files.copy(from.resolve("adapter_config.json"), to.resolve("adapter_config.json"));
        try (SafetensorsFile file =
                SafetensorsFile.open(from.resolve("adapter_model.safetensors"))) {
            SafetensorsWriter writer = new SafetensorsWriter();
            for (SafetensorsEntry entry : file.entries().values()) {
                float[] numbers = new float[Math.toIntExact(entry.rows() * entry.cols())];
                for (int i = 0; i < numbers.length; i++) {
                    numbers[i] = values.at(entry.name(), i);
                }
                writer.tensor(
                        entry.name(),
                        SafetensorsType.F32,
                        entry.shape(),
                        MemorySegment.ofArray(numbers));
            }
            writer.write(to.resolve("adapter_model.safetensors"));
        }
        return to;
    }

    private Path random(String name) throws IOException {
        SplittableRandom random = new SplittableRandom(name.hashCode());
        return adapter(name, (tensor, i) -> (float) (0.1 * random.nextGaussian()));
    }

    /** What it cannot compare with is said before anything is written. */
    @Test
    void anUnknownStorageOfTheBaseIsRefusedAndNothingIsWritten() throws IOException {
        Path from = random("llama_rslora");
        Path unknown = Files.createTempDirectory(temp, "adapter");
        Files.copy(from.resolve("adapter_config.json"), unknown.resolve("adapter_config.json"));
        try (SafetensorsFile file =
                SafetensorsFile.open(from.resolve("adapter_model.safetensors"))) {
            SafetensorsWriter writer = new SafetensorsWriter();
            writer.metadata("jlora.base_storage", "nine bits");
            file.entries()
                    .values()
                    .forEach(e -> writer.tensor(e.name(), e.type(), e.shape(), e.data()));
            writer.write(unknown.resolve("adapter_model.safetensors"));
        }
        Path output = temp.resolve("merged");
        assertRefused(ExitCode.CORRUPT_INPUT, "'nine bits'", base("llama_gqa"), unknown, output);
        assertFalse(Files.exists(output));
    }

    @ParameterizedTest
    @CsvSource({
        "gpt2_saved, gpt2_c_attn, transformer.",
        "gpt2_hub, gpt2_hub_all_linear, transformer.",
        "llama_tied, llama_tied_all_linear, ''",
        "llama_sharded, llama_sharded, ''",
        "llama_bf16, llama_bf16, ''",
        "llama_f16, llama_f16, ''",
        "llama_gqa, llama_patterns, ''",
        "llama_gqa, llama_rslora, ''",
        "llama_bias, llama_bias_all_linear, ''",
    })
    void everyWeightIsTheNearestToTheSum(String baseName, String adapterName, String bare)
            throws IOException {
        Path adapter = random(adapterName);
        Path output = temp.resolve("new/merged");
        MergeJob.Result result = MergeJob.run(base(baseName), adapter, output, false, false);
        int merged = 0;
        try (HuggingFaceFolder before = HuggingFaceFolder.open(base(baseName));
                HuggingFaceFolder after = HuggingFaceFolder.open(output);
                PeftFolder peft = PeftFolder.open(adapter)) {
            assertEquals(before.config(), after.config());
            assertEquals(before.names(), after.names());
            for (SafetensorsEntry was : before.tensors().values()) {
                SafetensorsEntry is = after.tensor(was.name());
                assertEquals(was.type(), is.type());
                assertArrayEquals(was.shape(), is.shape());
                assertEquals(was.file().getFileName(), is.file().getFileName());
                PeftFolder.Stored factors = stored(peft, was.name(), bare);
                if (factors == null) {
                    assertEquals(-1, was.data().mismatch(is.data()), was.name());
                } else {
                    assertNearest(was, is, factors, spec(peft, factors.module()), !bare.isEmpty());
                    merged++;
                }
            }
            assertEquals(peft.modules().size(), merged);
        }
        assertEquals(merged, result.modules());
        try (Stream<Path> left = Files.list(output.getParent())) {
            assertEquals(List.of(output), left.toList());
        }
    }

    private static PeftFolder.Stored stored(PeftFolder peft, String tensor, String bare) {
        if (!tensor.endsWith(".weight")) {
            return null;
        }
        String module = tensor.substring(0, tensor.length() - ".weight".length());
        PeftFolder.Stored found = peft.modules().get(module);
        return found == null ? peft.modules().get(bare + module) : found;
    }

    private static LoraSpec spec(PeftFolder peft, String module) {
        return peft.config().select(peft.modules().keySet()).get(module);
    }

    private static void assertNearest(
            SafetensorsEntry was,
            SafetensorsEntry is,
            PeftFolder.Stored factors,
            LoraSpec spec,
            boolean conv1d) {
        int changed = 0;
        for (int r = 0; r < was.rows(); r++) {
            for (int c = 0; c < was.cols(); c++) {
                int out = conv1d ? c : r;
                int in = conv1d ? r : c;
                double sum = 0;
                for (int k = 0; k < spec.rank(); k++) {
                    sum += value(factors.b(), out, k) * value(factors.a(), k, in);
                }
                double exact = value(was, r, c) + spec.scale() * sum;
                double got = value(is, r, c);
                double half = halfStep(got, was.type()) * (1 + 1e-6);
                assertTrue(
                        Math.abs(got - exact) <= half,
                        was + " [" + r + "," + c + "]: " + got + " for " + exact);
                changed += got != value(was, r, c) ? 1 : 0;
            }
        }
        assertTrue(changed > was.rows() * was.cols() / 2, "most weights change");
    }

    /** Half the distance to the next number of the type, upwards in magnitude. */
    private static double halfStep(double value, SafetensorsType type) {
        return switch (type) {
            case F32 -> Math.ulp((float) value) / 2;
            case BF16 -> Math.ulp((float) value) * 0x1p16 / 2;
            case F16 -> Math.max(Math.ulp((float) value) * 0x1p13, 0x1p-24) / 2;
            default -> throw new AssertionError(type);
        };
    }

    private static double value(SafetensorsEntry entry, long row, long col) {
        long index = row * entry.cols() + col;
        return switch (entry.type()) {
            case F32 -> entry.data().get(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * index);
            case BF16 ->
                    Float.intBitsToFloat(
                            entry.data().get(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * index) << 16);
            case F16 ->
                    Float.float16ToFloat(
                            entry.data().get(ValueLayout.JAVA_SHORT_UNALIGNED, 2 * index));
            default -> throw new AssertionError(entry.type());
        };
    }

    private void assertRefused(ExitCode code, String part, Path base, Path adapter, Path output)
            throws IOException {
        List<Path> before = listing();
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () -> MergeJob.run(base, adapter, output, false, false));
        assertEquals(code, e.exitCode(), e.getMessage());
        assertTrue(e.getMessage().contains(part), e.getMessage());
        assertEquals(before, listing(), "nothing is written");
    }

    private List<Path> listing() throws IOException {
        try (Stream<Path> all = Files.walk(temp)) {
            return all.sorted().toList();
        }
    }

    @ParameterizedTest
    @CsvSource({"lora_A, NaN", "lora_B, Infinity"})
    void factorsThatAreNotFiniteAreRefused(String where, float value) throws IOException {
        Path adapter =
                adapter(
                        "llama_gqa_qv",
                        (tensor, i) -> tensor.contains(where) && i == 5 ? value : 0.1f);
        assertRefused(ExitCode.NUMERICS, where, base("llama_gqa"), adapter, temp.resolve("out"));
    }

    /** Finite in f32, too large for the checkpoint's f16. */
    @Test
    void sumsThatOverflowTheCheckpointsTypeAreRefused() throws IOException {
        Path adapter = adapter("llama_f16", (tensor, i) -> 1000);
        assertRefused(
                ExitCode.NUMERICS,
                "NaN or infinity",
                base("llama_f16"),
                adapter,
                temp.resolve("out"));
    }

    @Test
    void adaptersForAnotherBaseAreRefused() throws IOException {
        Path adapter = random("gpt2_c_attn");
        assertRefused(
                ExitCode.CORRUPT_INPUT,
                "base model?",
                base("llama_gqa"),
                adapter,
                temp.resolve("out"));
    }

    @Test
    void outputThatHoldsSomethingIsRefusedUnlessOverwritten() throws IOException {
        Path adapter = random("llama_gqa_qv");
        Path output = Files.createDirectory(temp.resolve("out"));
        Files.writeString(output.resolve("notes.txt"), "mine");
        Files.writeString(output.resolve("model-00001-of-00002.safetensors"), "an older shard");
        Files.writeString(output.resolve("model.safetensors.index.json"), "{}");
        assertRefused(ExitCode.USAGE, "not empty", base("llama_gqa"), adapter, output);
        MergeJob.run(base("llama_gqa"), adapter, output, true, false);
        assertEquals("mine", Files.readString(output.resolve("notes.txt")));
        assertFalse(Files.exists(output.resolve("model-00001-of-00002.safetensors")));
        try (HuggingFaceFolder merged = HuggingFaceFolder.open(output);
                HuggingFaceFolder before = HuggingFaceFolder.open(base("llama_gqa"))) {
            assertEquals(before.names(), merged.names());
        }
        try (Stream<Path> files = Files.list(temp)) {
            assertTrue(files.noneMatch(f -> f.getFileName().toString().endsWith(".tmp")));
        }
    }

    @Test
    void theBaseFolderIsNeverTheOutput() throws IOException {
        Path copy = temp.resolve("base");
        Files.createDirectory(copy);
        for (String file : List.of("config.json", "model.safetensors")) {
            Files.copy(base("llama_gqa").resolve(file), copy.resolve(file));
        }
        Path adapter = random("llama_gqa_qv");
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () -> MergeJob.run(copy, adapter, temp.resolve("x/../base"), true, false));
        assertEquals(ExitCode.USAGE, e.exitCode());
        assertEquals(
                -1,
                Files.mismatch(
                        base("llama_gqa").resolve("model.safetensors"),
                        copy.resolve("model.safetensors")));
    }

    @Test
    void tokenizerAndLicenceTravelAlongAndStrayFilesDoNot() throws IOException {
        Path copy = Files.createDirectory(temp.resolve("base"));
        for (String file : List.of("config.json", "model.safetensors")) {
            Files.copy(base("llama_gqa").resolve(file), copy.resolve(file));
        }
        List<String> kept =
                List.of(
                        "tokenizer.json",
                        "tokenizer_config.json",
                        "generation_config.json",
                        "LICENSE");
        for (String file : kept) {
            Files.writeString(copy.resolve(file), "content of " + file);
        }
        Files.writeString(copy.resolve("pytorch_model.bin"), "the old weights");
        Path output = temp.resolve("out");
        MergeJob.run(copy, random("llama_gqa_qv"), output, false, false);
        for (String file : kept) {
            assertEquals("content of " + file, Files.readString(output.resolve(file)));
        }
        assertFalse(Files.exists(output.resolve("pytorch_model.bin")));
    }
}
