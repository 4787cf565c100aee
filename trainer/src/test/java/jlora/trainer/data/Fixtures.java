package jlora.trainer.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.function.Executable;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/**
 * What the data tests share: the small tokenizer, random rows, and what an error has to look like.
 */
final class Fixtures {
    private Fixtures() {}

    /** The folder of stories260k's tokenizer: 512 pieces, byte fallback, a begin token. */
    static Path tokenizerFolder() {
        try {
            return Path.of(Fixtures.class.getResource("stories260k").toURI());
        } catch (URISyntaxException e) {
            throw new AssertionError(e);
        }
    }

    static Path copyOfTokenizer(Path folder) throws IOException {
        for (String name :
                new String[] {
                    "tokenizer.json", "tokenizer_config.json", "generation_config.json"
                }) {
            Files.copy(tokenizerFolder().resolve(name), folder.resolve(name));
        }
        return folder;
    }

    /**
     * A row of up to {@code longest} tokens below 50, with random labels, and a random mask in half
     * of the rows.
     */
    static Example randomExample(Random random, int longest) {
        int length = 1 + random.nextInt(longest);
        int[] ids = random.ints(length, 0, 50).toArray();
        int[] labels = random.ints(length, 0, 50).toArray();
        int[] mask = random.nextBoolean() ? random.ints(length, 0, 2).toArray() : null;
        int kind = random.nextInt(4);
        for (int t = 0; t < length; t++) {
            boolean ignored =
                    switch (kind) {
                        case 0 -> t < length / 2;
                        case 1 -> random.nextInt(3) == 0;
                        case 2 -> true;
                        default -> false;
                    };
            labels[t] = ignored ? Example.IGNORED : kind == 0 ? ids[t] : labels[t];
        }
        return new Example(ids, labels, mask, random.nextInt(1000));
    }

    /** Asserts a one-sentence error with this exit code that names all these. */
    static JloraException assertError(ExitCode code, Executable action, String... parts) {
        JloraException e = assertThrows(JloraException.class, action);
        assertEquals(code, e.exitCode(), e.getMessage());
        for (String part : parts) {
            assertTrue(e.getMessage().contains(part), "'" + part + "' not in: " + e.getMessage());
        }
        assertFalse(e.getMessage().contains("\n"), e.getMessage());
        assertTrue(e.getMessage().endsWith("."), e.getMessage());
        return e;
    }
}
