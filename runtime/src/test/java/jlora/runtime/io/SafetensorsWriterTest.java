package jlora.runtime.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

class SafetensorsWriterTest {
    @TempDir Path folder;

    private static MemorySegment bytes(int... values) {
        byte[] array = new byte[values.length];
        for (int i = 0; i < values.length; i++) {
            array[i] = (byte) values[i];
        }
        return MemorySegment.ofArray(array);
    }

    private List<String> listing() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(f -> f.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    void theBytesAreTheReferenceImplementationsBytes() throws IOException {
        Path file = folder.resolve("m.safetensors");
        new SafetensorsWriter()
                .tensor("z", SafetensorsType.U8, new long[] {3}, bytes(1, 2, 3))
                .tensor("b", SafetensorsType.F32, new long[] {1, 1}, bytes(0, 0, 0x80, 0x3f))
                .tensor("a", SafetensorsType.F32, new long[] {}, bytes(0, 0, 0, 0x40))
                .tensor("h", SafetensorsType.I64, new long[] {0}, bytes())
                .write(file);
        String header =
                "{\"__metadata__\":{\"format\":\"pt\"},"
                        + "\"h\":{\"dtype\":\"I64\",\"shape\":[0],\"data_offsets\":[0,0]},"
                        + "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                        + "\"b\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[4,8]},"
                        + "\"z\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]}}";
        header += " ".repeat((8 - header.length() % 8) % 8);
        assertArrayEquals(
                RawSafetensors.bytes(
                        header.getBytes(StandardCharsets.UTF_8),
                        new byte[] {0, 0, 0, 0x40, 0, 0, (byte) 0x80, 0x3f, 1, 2, 3}),
                Files.readAllBytes(file));
        assertEquals(List.of("m.safetensors"), listing());
    }

    @Test
    void whatIsWrittenInPiecesReadsBack() {
        Path file = folder.resolve("m.safetensors");
        new SafetensorsWriter()
                .metadata("note", "größer \"quoted\"")
                .tensor(
                        "näme",
                        SafetensorsType.F32,
                        new long[] {100, 3},
                        sink -> {
                            for (int row = 0; row < 100; row++) {
                                sink.write(
                                        MemorySegment.ofArray(new float[] {row, row + 0.5f, -row}));
                            }
                        })
                .write(file);
        try (SafetensorsFile read = SafetensorsFile.open(file)) {
            assertEquals(Map.of("format", "pt", "note", "größer \"quoted\""), read.metadata());
            SafetensorsEntry entry = read.entry("näme");
            assertArrayEquals(new long[] {100, 3}, entry.shape());
            assertEquals(0, entry.data().address() % 8);
            assertEquals(-99f, entry.data().getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, 299));
            assertEquals(42.5f, entry.data().getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, 127));
        }
    }

    @Test
    void aFailureInTheMiddleLeavesTheOldFileAndNothingElse() throws IOException {
        Path file = folder.resolve("m.safetensors");
        new SafetensorsWriter()
                .tensor("w", SafetensorsType.U8, new long[] {2}, bytes(1, 2))
                .write(file);
        byte[] before = Files.readAllBytes(file);
        SafetensorsWriter failing =
                new SafetensorsWriter()
                        .tensor(
                                "w",
                                SafetensorsType.U8,
                                new long[] {2},
                                sink -> {
                                    sink.write(bytes(1));
                                    throw new IOException("disk on fire");
                                });
        JloraException e = assertThrows(JloraException.class, () -> failing.write(file));
        assertEquals(ExitCode.CHECKPOINT_IO, e.exitCode());
        assertTrue(e.getMessage().startsWith(file.toString()), e.getMessage());
        assertTrue(e.getMessage().contains("disk on fire"), e.getMessage());
        SafetensorsWriter tooShort =
                new SafetensorsWriter().tensor("w", SafetensorsType.U8, new long[] {2}, bytes(1));
        assertThrows(IllegalStateException.class, () -> tooShort.write(file));
        assertArrayEquals(before, Files.readAllBytes(file));
        assertEquals(List.of("m.safetensors"), listing());
    }

    @Test
    void aFolderThatIsNotThereIsASentence() {
        Path file = folder.resolve("none/m.safetensors");
        JloraException e =
                assertThrows(JloraException.class, () -> new SafetensorsWriter().write(file));
        assertEquals(ExitCode.CHECKPOINT_IO, e.exitCode());
        assertTrue(e.getMessage().contains("check that the folder exists"), e.getMessage());
    }

    @Test
    void repeatedNamesAreRefused() {
        SafetensorsWriter writer =
                new SafetensorsWriter().tensor("w", SafetensorsType.U8, new long[] {1}, bytes(1));
        assertThrows(
                IllegalArgumentException.class,
                () -> writer.tensor("w", SafetensorsType.U8, new long[] {1}, bytes(1)));
    }
}
