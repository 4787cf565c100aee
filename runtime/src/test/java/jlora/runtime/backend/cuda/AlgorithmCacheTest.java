package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.cu.cublas.MatmulAlgorithm;
import jlora.cu.driver.DeviceInfo;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

class AlgorithmCacheTest {
    private static final MatmulAlgorithm ONE = new MatmulAlgorithm("0001");
    private static final MatmulAlgorithm TWO = new MatmulAlgorithm("0002");
    private static final String SHAPE = "16x8x4,f32/4,f32/4,f32/16";

    @TempDir private Path folder;

    private AlgorithmCache open() {
        return AlgorithmCache.open(folder.resolve("new"), "library-1", gpu("Some GPU (8 GB)"));
    }

    private static DeviceInfo gpu(String name) {
        return new DeviceInfo(0, name, "GPU-0", "0000:01:00.0", 9, 0, 132, 1, 1, 1, false);
    }

    @Test
    void anotherProcessFindsAChoice() throws IOException {
        assertEquals(Optional.empty(), open().find(SHAPE));
        assertEquals(ONE, open().keep(SHAPE, ONE, algorithm -> true));
        assertEquals(Optional.of(ONE), open().find(SHAPE));
        assertEquals(Optional.empty(), open().find(SHAPE + ",add"));
    }

    @Test
    void theFirstOfTwoChoicesWins() throws IOException {
        AlgorithmCache first = open();
        AlgorithmCache second = open();
        first.keep(SHAPE, ONE, algorithm -> true);
        assertEquals(ONE, second.keep(SHAPE, TWO, algorithm -> true));
        assertEquals(Optional.of(ONE), second.find(SHAPE));
    }

    @Test
    void aChoiceThatCannotRunIsReplaced() throws IOException {
        open().keep(SHAPE, ONE, algorithm -> true);
        assertEquals(TWO, open().keep(SHAPE, TWO, algorithm -> !algorithm.equals(ONE)));
        assertEquals(Optional.of(TWO), open().find(SHAPE));
    }

    @Test
    void choicesOfOthersStay() throws IOException {
        AlgorithmCache first = open();
        AlgorithmCache second = open();
        first.keep(SHAPE, ONE, algorithm -> true);
        second.keep(SHAPE + ",add", TWO, algorithm -> true);
        assertEquals(Optional.of(ONE), open().find(SHAPE));
        assertEquals(Optional.of(TWO), open().find(SHAPE + ",add"));
    }

    @Test
    void eachGpuAndVersionHasItsOwn() {
        AlgorithmCache other = AlgorithmCache.open(folder, "library-2", gpu("Some GPU (8 GB)"));
        assertEquals(
                List.of(
                        "products-library-1-Some-GPU-8-GB-132sm.txt",
                        "products-library-2-Some-GPU-8-GB-132sm.txt"),
                List.of(
                        open().file().getFileName().toString(),
                        other.file().getFileName().toString()));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "something else",
                "jlora matrix products 1\n",
                "jlora matrix products 1\n00000000\n" + SHAPE + " 0001\n",
                "jlora matrix products 2\n49a8b9bc\n" + SHAPE + " 0001\n"
            })
    void aDamagedFileIsIgnoredAndReplaced(String text) throws IOException {
        AlgorithmCache cache = open();
        Files.createDirectories(cache.file().getParent());
        Files.writeString(cache.file(), text);
        assertEquals(Optional.empty(), open().find(SHAPE));
        assertEquals(TWO, open().keep(SHAPE, TWO, algorithm -> true));
        assertEquals(Optional.of(TWO), open().find(SHAPE));
    }

    @Test
    void aCutOrChangedFileIsIgnored() throws IOException {
        open().keep(SHAPE, ONE, algorithm -> true);
        Path file = open().file();
        String whole = Files.readString(file);
        Files.writeString(file, whole.substring(0, whole.length() - 3));
        assertEquals(Optional.empty(), open().find(SHAPE));
        Files.writeString(file, whole.replace("0001", "0003"));
        assertEquals(Optional.empty(), open().find(SHAPE));
        byte[] noText = {(byte) 0xff, (byte) 0xfe, 0, 1};
        Files.write(file, noText);
        assertEquals(Optional.empty(), open().find(SHAPE));
    }

    @Test
    void aFolderThatCannotBeIsNotWritable() throws IOException {
        Path file = Files.writeString(folder.resolve("file"), "");
        AlgorithmCache cache = AlgorithmCache.open(file.resolve("in"), "library-1", gpu("GPU"));
        assertFalse(cache.writable());
        assertThrows(IOException.class, () -> cache.keep(SHAPE, ONE, algorithm -> true));
        assertTrue(open().writable());
    }

    @Test
    void nothingIsLeftBeside() throws IOException {
        open().keep(SHAPE, ONE, algorithm -> true);
        try (Stream<Path> files = Files.list(folder.resolve("new"))) {
            assertEquals(
                    List.of(
                            "products-library-1-Some-GPU-8-GB-132sm.txt",
                            "products-library-1-Some-GPU-8-GB-132sm.txt.lock"),
                    files.map(file -> file.getFileName().toString()).sorted().toList());
        }
    }
}
