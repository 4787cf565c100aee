package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

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

    @Test
    void fileOfARunThatWasKilledIsNoObstacle() throws java.io.IOException {
        Files.writeString(folder.resolve(".jlora.lock"), "12 34\n");
        FolderLock.of(folder).close();
    }
}
