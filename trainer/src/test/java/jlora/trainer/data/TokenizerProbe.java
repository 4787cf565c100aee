package jlora.trainer.data;

import java.nio.file.Path;
import java.util.Arrays;

/**
 * A process of its own that opens a tokenizer and encodes a text, for tests that watch what else it
 * does.
 */
final class TokenizerProbe {
    private TokenizerProbe() {}

    public static void main(String[] args) {
        try (Tokenizer tokenizer = Tokenizer.open(Path.of(args[0]))) {
            int[] ids = tokenizer.encode(args[1], true);
            System.out.println("ids " + Arrays.toString(ids) + " " + tokenizer.decode(ids, true));
        }
    }
}
