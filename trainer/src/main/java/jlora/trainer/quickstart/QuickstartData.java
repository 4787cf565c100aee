package jlora.trainer.quickstart;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.AtomicFile;
import jlora.runtime.io.Json;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import java.util.function.Supplier;

/**
 * Makes everything that the quickstart is trained on: the base model's text and tokenizer, and the
 * cards it is fine-tuned on. The same files come out every time.
 */
public final class QuickstartData {
    static final int PASSAGES = 60_000;
    static final int HELD_OUT_PASSAGES = 500;
    static final int TRAIN_CARDS = 1500;
    static final int EVAL_CARDS = 100;
    static final int VOCABULARY = 1536;

    private static final long SEED = 2026;

    private QuickstartData() {}

    /**
     * Writes {@code corpus.jsonl}, {@code corpus_eval.jsonl}, {@code train.jsonl}, {@code
     * eval.jsonl} and {@code tokenizer.json}.
     */
    public static void write(Path folder) {
        try {
            Files.createDirectories(folder);
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.CHECKPOINT_IO,
                    folder + " could not be made (" + e.getMessage() + "); choose another folder.",
                    e);
        }
        Words words = Words.load();
        BpeTrainer bpe = new BpeTrainer();
        Passages passages = new Passages(words, SEED);
        Set<String> seen = new HashSet<>();
        Supplier<ObjectNode> passage =
                () -> {
                    String text = passages.next();
                    while (!seen.add(text)) {
                        text = passages.next();
                    }
                    bpe.add(text);
                    return Json.object().put("text", text);
                };
        lines(folder.resolve("corpus.jsonl"), PASSAGES, passage);
        lines(folder.resolve("corpus_eval.jsonl"), HELD_OUT_PASSAGES, passage);
        lines(folder.resolve("train.jsonl"), TRAIN_CARDS, cards(new Cards(words, SEED, false)));
        lines(folder.resolve("eval.jsonl"), EVAL_CARDS, cards(new Cards(words, SEED, true)));
        AtomicFile.write(folder.resolve("tokenizer.json"), Json.pretty(bpe.train(VOCABULARY)));
    }

    private static Supplier<ObjectNode> cards(Cards cards) {
        return () -> {
            Cards.Card card = cards.next();
            return Json.object().put("prompt", card.prompt()).put("completion", card.completion());
        };
    }

    private static void lines(Path file, int count, Supplier<ObjectNode> next) {
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < count; i++) {
            text.append(next.get()).append('\n');
        }
        AtomicFile.write(file, text.toString().getBytes(StandardCharsets.UTF_8));
    }
}
