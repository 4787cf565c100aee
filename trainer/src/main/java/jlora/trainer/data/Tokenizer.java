package jlora.trainer.data;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.stream.IntStream;

/**
 * The tokenizer of a Hugging Face folder: its tokenizer.json, run by the Hugging Face library
 * itself, so ids are the same as in Python. Never truncates and never pads, whatever the file asks
 * for. Safe for use by several threads.
 *
 * <p>Special tokens around a text are those of the file's post-processor, except where
 * tokenizer_config.json has {@code add_bos_token} or {@code add_eos_token}: these decide, as in
 * Transformers.
 */
public final class Tokenizer implements AutoCloseable {
    private static final int[] NONE = {};

    private final Path file;
    private final TokenizersLibrary library;
    private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
    private final int vocabSize;
    private final OptionalInt bosId;
    private final OptionalInt eosId;
    private final OptionalInt padId;
    private final List<Integer> stopIds;
    private final int[] prefix;
    private final int[] suffix;
    private long handle;

    private Tokenizer(Path file, String json, SpecialTokens special) {
        this.file = file;
        Set<String> wanted = new HashSet<>();
        special.bos().ifPresent(wanted::add);
        special.eos().ifPresent(wanted::add);
        special.pad().ifPresent(wanted::add);
        Vocabulary vocabulary = Vocabulary.read(file, json, wanted);
        this.vocabSize = vocabulary.size();
        this.bosId = resolve(vocabulary, special.bos(), special.bosIds());
        this.eosId = resolve(vocabulary, special.eos(), special.eosIds());
        this.padId = resolve(vocabulary, special.pad(), special.padIds());
        this.stopIds =
                IntStream.concat(special.stopIds().stream().mapToInt(id -> id), eosId.stream())
                        .distinct()
                        .boxed()
                        .toList();
        this.library = TokenizerLibrary.open();
        this.handle = create(json);
        try {
            int[][] around = aroundText();
            this.prefix = chosen(special.addBos(), bosId, around[0], "add_bos_token", "bos_token");
            this.suffix = chosen(special.addEos(), eosId, around[1], "add_eos_token", "eos_token");
        } catch (RuntimeException e) {
            close();
            throw e;
        }
    }

    /**
     * Opens {@code folder}/tokenizer.json.
     *
     * @throws JloraException if it is missing (usage) or is not a tokenizer (corrupt input)
     */
    public static Tokenizer open(Path folder) {
        Path file = folder.resolve("tokenizer.json");
        if (!Files.isRegularFile(file)) {
            throw JloraException.usage(
                    "There is no tokenizer.json in "
                            + folder
                            + "; put the model's tokenizer.json there, or train on a data set of"
                            + " type tokens, which needs none.");
        }
        String json;
        try {
            json = Files.readString(file);
        } catch (CharacterCodingException e) {
            throw JloraException.corrupt(file + " is not UTF-8; get the tokenizer's files again.");
        } catch (IOException e) {
            throw JloraException.corrupt(
                    file + " cannot be read (" + e.getMessage() + "); check its permissions.");
        }
        return new Tokenizer(file, json, SpecialTokens.read(folder));
    }

    private long create(String json) {
        try {
            long opened = library.createTokenizerFromString(json);
            library.disableTruncation(opened);
            library.disablePadding(opened);
            return opened;
        } catch (RuntimeException e) {
            throw new JloraException(
                    ExitCode.CORRUPT_INPUT,
                    file
                            + " is not a tokenizer that the tokenizers library reads ("
                            + e.getMessage()
                            + "); get the tokenizer's files again.",
                    e);
        }
    }

    private static OptionalInt resolve(
            Vocabulary vocabulary, Optional<String> name, List<Integer> ids) {
        OptionalInt named = name.isPresent() ? vocabulary.id(name.get()) : OptionalInt.empty();
        return named.isPresent() || ids.isEmpty() ? named : OptionalInt.of(ids.getFirst());
    }

    // What the post-processor puts before and after a text is the same for every text, so one probe
    // finds it.
    private int[][] aroundText() {
        int[] plain = raw("a", false);
        int[] full = raw("a", true);
        for (int at = 0; at + plain.length <= full.length; at++) {
            if (Arrays.equals(full, at, at + plain.length, plain, 0, plain.length)) {
                return new int[][] {
                    Arrays.copyOf(full, at),
                    Arrays.copyOfRange(full, at + plain.length, full.length)
                };
            }
        }
        throw JloraException.corrupt(
                file
                        + " has a post_processor that changes the text's own tokens, which jlora"
                        + " does not support; use pre-tokenised data of type tokens.");
    }

    private int[] chosen(
            Optional<Boolean> flag, OptionalInt id, int[] byFile, String key, String tokenKey) {
        if (flag.isEmpty()) {
            return byFile;
        }
        if (!flag.get()) {
            return NONE;
        }
        if (id.isEmpty()) {
            throw JloraException.corrupt(
                    file.resolveSibling("tokenizer_config.json")
                            + " sets "
                            + key
                            + " but "
                            + tokenKey
                            + " is not a token of the vocabulary; name one, or remove "
                            + key
                            + ".");
        }
        return new int[] {id.getAsInt()};
    }

    /** The ids of a text. Special tokens that the text spells out are recognised either way. */
    public int[] encode(String text, boolean addSpecialTokens) {
        int[] plain = raw(text, false);
        return addSpecialTokens ? concat(prefix, plain, suffix) : plain;
    }

    /** The ids of a text that more will follow: special tokens before it, none after it. */
    public int[] encodeBeginning(String text) {
        return concat(prefix, raw(text, false), NONE);
    }

    private int[] raw(String text, boolean addSpecialTokens) {
        lock.readLock().lock();
        try {
            long encoding = library.encode(open(), text, addSpecialTokens);
            try {
                long[] ids = library.getTokenIds(encoding);
                int[] out = new int[ids.length];
                for (int i = 0; i < ids.length; i++) {
                    out[i] = Math.toIntExact(ids[i]);
                }
                return out;
            } finally {
                library.deleteEncoding(encoding);
            }
        } finally {
            lock.readLock().unlock();
        }
    }

    /**
     * The text of ids as the tokenizer's decoder makes it, without clean-up of spaces; unknown ids
     * are an error.
     */
    public String decode(int[] ids, boolean skipSpecialTokens) {
        long[] wide = new long[ids.length];
        for (int i = 0; i < ids.length; i++) {
            if (ids[i] < 0 || ids[i] >= vocabSize) {
                throw new IllegalArgumentException(
                        "token id " + ids[i] + " is outside the vocabulary of " + vocabSize);
            }
            wide[i] = ids[i];
        }
        lock.readLock().lock();
        try {
            return library.decode(open(), wide, skipSpecialTokens);
        } finally {
            lock.readLock().unlock();
        }
    }

    private long open() {
        if (handle == 0) {
            throw new IllegalStateException("tokenizer of " + file + " is closed");
        }
        return handle;
    }

    private static int[] concat(int[] a, int[] b, int[] c) {
        if (a.length + c.length == 0) {
            return b;
        }
        int[] out = Arrays.copyOf(a, a.length + b.length + c.length);
        System.arraycopy(b, 0, out, a.length, b.length);
        System.arraycopy(c, 0, out, a.length + b.length, c.length);
        return out;
    }

    /**
     * The largest id of the vocabulary, added tokens included, plus one; a model may have more rows
     * than that.
     */
    public int vocabSize() {
        return vocabSize;
    }

    public OptionalInt bosId() {
        return bosId;
    }

    public OptionalInt eosId() {
        return eosId;
    }

    public OptionalInt padId() {
        return padId;
    }

    /**
     * Ids at which generation ends: those of generation_config.json or config.json, and the end of
     * sequence, which is what jlora trains completions to end with.
     */
    public List<Integer> stopIds() {
        return stopIds;
    }

    public Path file() {
        return file;
    }

    @Override
    public void close() {
        lock.writeLock().lock();
        try {
            if (handle != 0) {
                library.deleteTokenizer(handle);
                handle = 0;
            }
        } finally {
            lock.writeLock().unlock();
        }
    }
}
