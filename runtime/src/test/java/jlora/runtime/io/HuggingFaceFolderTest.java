package jlora.runtime.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

class HuggingFaceFolderTest {
    @TempDir Path folder;

    @BeforeEach
    void config() throws IOException {
        Files.writeString(folder.resolve("config.json"), "{\"model_type\": \"llama\"}");
    }

    private void index(String weightMap) throws IOException {
        Files.writeString(
                folder.resolve("model.safetensors.index.json"),
                "{\"metadata\": {\"total_size\": 8}, \"weight_map\": " + weightMap + "}");
    }

    private void shard(String name, String... tensors) {
        RawSafetensors.write(folder.resolve(name), RawSafetensors.vectors(tensors));
    }

    private String refused() {
        JloraException e =
                assertThrows(JloraException.class, () -> HuggingFaceFolder.open(folder).close());
        assertEquals(ExitCode.CORRUPT_INPUT, e.exitCode());
        assertTrue(e.getMessage().startsWith(folder.toString()), e.getMessage());
        return e.getMessage();
    }

    private static void assertSays(String message, String... parts) {
        for (String part : parts) {
            assertTrue(message.contains(part), message);
        }
    }

    @Test
    void aSingleFileOpens() {
        shard("model.safetensors", "b", "a");
        try (HuggingFaceFolder opened = HuggingFaceFolder.open(folder)) {
            assertEquals(List.of("a", "b"), opened.names());
            assertTrue(opened.has("a"));
            assertFalse(opened.has("c"));
            assertEquals("llama", opened.config().get("model_type").textValue());
            JloraException e = assertThrows(JloraException.class, () -> opened.tensor("c"));
            assertSays(e.getMessage(), "no tensor 'c'");
        }
    }

    @Test
    void shardsOpenAsOneModelWithTheFingerprintOfTheUnsplitOne() throws IOException {
        shard("model-1.safetensors", "a");
        shard("model-2.safetensors", "b");
        index("{\"a\": \"model-1.safetensors\", \"b\": \"model-2.safetensors\"}");
        String split;
        try (HuggingFaceFolder opened = HuggingFaceFolder.open(folder)) {
            assertEquals(List.of("a", "b"), opened.names());
            split = opened.fingerprint();
        }
        new SafetensorsWriter()
                .tensor(
                        "a",
                        SafetensorsType.F32,
                        new long[] {1},
                        MemorySegment.ofArray(new float[1]))
                .tensor(
                        "b",
                        SafetensorsType.F32,
                        new long[] {1},
                        MemorySegment.ofArray(new float[1]))
                .write(folder.resolve("model.safetensors"));
        try (HuggingFaceFolder opened = HuggingFaceFolder.open(folder)) {
            assertEquals(split, opened.fingerprint());
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "../model.safetensors",
                "/etc/model.safetensors",
                "sub/model.safetensors",
                "..\\\\model.safetensors",
                "C:model.safetensors",
                "..safetensors",
                "model.bin",
                "a\\u0000.safetensors",
                ""
            })
    void aShardOutsideTheFolderIsRefused(String name) throws IOException {
        shard("model-1.safetensors", "a");
        index("{\"a\": \"" + name + "\"}");
        assertSays(refused(), "index.json: maps 'a' to", "not the name of a .safetensors file");
    }

    @Test
    void aMissingShardIsNamed() throws IOException {
        index("{\"a\": \"model-1.safetensors\"}");
        assertSays(refused(), "names the shard model-1.safetensors", "download it");
    }

    @Test
    void aShardWithoutTheMappedTensorIsNamed() throws IOException {
        shard("model-1.safetensors", "a");
        index("{\"a\": \"model-1.safetensors\", \"b\": \"model-1.safetensors\"}");
        assertSays(refused(), "maps 'b' to model-1.safetensors, which has no such tensor");
    }

    @Test
    void aTensorInTwoShardsIsRefused() throws IOException {
        shard("model-1.safetensors", "a", "b");
        shard("model-2.safetensors", "b");
        index("{\"a\": \"model-1.safetensors\", \"b\": \"model-2.safetensors\"}");
        assertSays(refused(), "'b' is both in", "model-1.safetensors", "model-2.safetensors");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "[]|no object 'weight_map'",
                "{\"a\": 3}|has a number for 'a'",
                "{\"a\": \"x.safetensors\", \"a\": \"x.safetensors\"}|Duplicate"
            })
    void aMalformedIndexIsRefused(String weightMap, String cause) throws IOException {
        index(weightMap);
        assertSays(refused(), "model.safetensors.index.json", cause);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "pytorch_model.bin",
                "pytorch_model-00001-of-00002.bin",
                "model.pt",
                "model.GGUF"
            })
    void otherFormatsAreNeverOpenedAndTheConversionIsNamed(String name) throws IOException {
        Files.writeString(folder.resolve(name), "whatever");
        assertSays(refused(), name, "safe_serialization=True");
    }

    @Test
    void aFolderWithoutWeightsOrConfigIsASentence() throws IOException {
        assertSays(refused(), "neither model.safetensors nor");
        assertEquals("llama", HuggingFaceFolder.readConfig(folder).get("model_type").textValue());
        Files.delete(folder.resolve("config.json"));
        assertSays(refused(), "has no config.json");
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () -> HuggingFaceFolder.open(folder.resolve("none")).close());
        assertEquals(ExitCode.USAGE, e.exitCode());
        assertSays(e.getMessage(), "no such model folder");
    }

    @Test
    void aTruncatedModelNamesTheFile() throws IOException {
        byte[] whole = RawSafetensors.vectors("a", "b");
        RawSafetensors.write(
                folder.resolve("model.safetensors"),
                java.util.Arrays.copyOf(whole, whole.length - 1));
        assertSays(refused(), "model.safetensors", "only 7 are there");
    }

    @Test
    void theFingerprintSeesNamesShapesTypesAndContent() {
        byte[] content = new byte[1 << 21];
        String first = fingerprint("w", SafetensorsType.U8, new long[] {1 << 21}, content);
        assertEquals(first, fingerprint("w", SafetensorsType.U8, new long[] {1 << 21}, content));
        assertNotEquals(first, fingerprint("v", SafetensorsType.U8, new long[] {1 << 21}, content));
        assertNotEquals(first, fingerprint("w", SafetensorsType.I8, new long[] {1 << 21}, content));
        assertNotEquals(
                first, fingerprint("w", SafetensorsType.U8, new long[] {2, 1 << 20}, content));
        content[content.length - 1] = 1;
        assertNotEquals(first, fingerprint("w", SafetensorsType.U8, new long[] {1 << 21}, content));
        byte[] small = new byte[1 << 20];
        String before = fingerprint("w", SafetensorsType.U8, new long[] {1 << 20}, small);
        small[555_555] = 1;
        assertNotEquals(before, fingerprint("w", SafetensorsType.U8, new long[] {1 << 20}, small));
    }

    private String fingerprint(String name, SafetensorsType type, long[] shape, byte[] content) {
        new SafetensorsWriter()
                .tensor(name, type, shape, MemorySegment.ofArray(content))
                .write(folder.resolve("model.safetensors"));
        try (HuggingFaceFolder opened = HuggingFaceFolder.open(folder)) {
            return opened.fingerprint();
        }
    }
}
