package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

class FolderLockTest {
    @TempDir Path folder;

    @Test
    void secondRunInTheSameFolderIsRefusedUntilTheFirstHasEnded() {
        try (FolderLock _ = FolderLock.of(folder)) {
            JloraException e =
                    assertThrows(JloraException.class, () -> FolderLock.of(folder).close());
            assertEquals(ExitCode.USAGE, e.exitCode());
            assertTrue(e.getMessage().contains("is in use by another run"), e.getMessage());
        }
        assertFalse(Files.exists(folder.resolve(".jlora.lock")));
        FolderLock.of(folder).close();
    }

    /** Tries to lock, in a process of its own. */
    static final class Other {
        public static void main(String[] arguments) {
            try (FolderLock _ = FolderLock.of(Path.of(arguments[0]))) {
                System.out.println("locked");
            } catch (JloraException e) {
                System.out.println(e.getMessage());
            }
        }
    }

    private String otherProcess() throws IOException {
        Process other =
                new ProcessBuilder(
                                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                                "-cp",
                                System.getProperty("java.class.path"),
                                Other.class.getName(),
                                folder.toString())
                        .start();
        return new String(other.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    }

    @Test
    void anotherProcessIsRefusedAsLongAsTheLockIsHeld() throws IOException {
        try (FolderLock _ = FolderLock.of(folder)) {
            assertThrows(JloraException.class, () -> FolderLock.of(folder));
            assertTrue(otherProcess().contains("is in use by another run"));
        }
        assertEquals("locked\n", otherProcess());
    }

    @Test
    void fileOfARunThatWasKilledIsNoObstacle() throws IOException {
        Files.writeString(folder.resolve(".jlora.lock"), "12 34\n");
        FolderLock.of(folder).close();
    }
}
