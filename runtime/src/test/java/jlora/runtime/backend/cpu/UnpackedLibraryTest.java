package jlora.runtime.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;

/** Libraries are unpacked once, whole, and again when they are damaged. */
final class UnpackedLibraryTest {
    @TempDir Path cache;

    @Test
    void usesAnIntactFileAgain() throws IOException {
        Path file = unpack(cache);
        FileTime old = FileTime.fromMillis(1_000_000);
        Files.setLastModifiedTime(file, old);
        assertEquals(file, unpack(cache));
        assertEquals(old, Files.getLastModifiedTime(file));
    }

    @Test
    void replacesADamagedOrHalfWrittenFile() throws IOException {
        Path file = unpack(cache);
        byte[] whole = Files.readAllBytes(file);
        byte[] damaged = whole.clone();
        damaged[whole.length / 2] ^= 1;
        Files.write(file, damaged);
        assertArrayEquals(whole, Files.readAllBytes(unpack(cache)));
        Files.write(file, new byte[10]);
        assertArrayEquals(whole, Files.readAllBytes(unpack(cache)));
    }

    @Test
    void startsTogetherWithoutDisturbance() throws Exception {
        try (var executor = Executors.newFixedThreadPool(8)) {
            List<Callable<byte[]>> calls = new ArrayList<>();
            for (int i = 0; i < 8; i++) {
                calls.add(() -> Files.readAllBytes(unpack(cache)));
            }
            byte[] whole = Files.readAllBytes(unpack(cache.resolve("alone")));
            for (var bytes : executor.invokeAll(calls)) {
                assertArrayEquals(whole, bytes.get());
            }
        }
        try (var left = Files.list(unpack(cache).getParent())) {
            assertEquals(1, left.count(), "half-written files stayed behind");
        }
    }

    @Test
    void goesElsewhereWhenTheCacheCannotBeWritten() throws IOException {
        Path blocked = Files.createFile(cache.resolve("a-file"));
        Path file = unpack(blocked);
        assertTrue(Files.size(file) > 0);
        assertNotEquals(blocked, file.getParent().getParent());
    }

    private static Path unpack(Path cache) throws IOException {
        String folder = OneDnnLibrary.folder(OneDnnLibrary.platform().orElseThrow());
        List<String> names = List.of(OneDnnLibrary.OPENMP);
        return UnpackedLibrary.unpack(cache, "test", folder, names).resolve(OneDnnLibrary.OPENMP);
    }
}
