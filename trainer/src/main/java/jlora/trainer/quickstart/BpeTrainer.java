package jlora.trainer.quickstart;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.io.Json;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/**
 * Learns a byte-level byte-pair encoding (arXiv 1508.07909, over bytes as GPT-2 has it) and writes
 * it as a tokenizer.json. Any text can be encoded: what was never seen falls back to single bytes.
 * Meant for small vocabularies: each merge counts all pairs anew.
 */
final class BpeTrainer {
    static final String UNKNOWN = "<unk>";
    static final String BEGIN = "<s>";
    static final String END = "</s>";
    static final String PAD = "<pad>";

    private static final List<String> SPECIAL = List.of(UNKNOWN, BEGIN, END, PAD);

    /** How the ByteLevel pre-tokenizer splits. */
    private static final Pattern WORD =
            Pattern.compile(
                    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|"
                            + " ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+");

    private record Pair(String left, String right) {}

    /**
     * Words as sequences of symbols, with how often each comes; sorted, so that ties break the same
     * way every time.
     */
    private final Map<String, Long> counts = new TreeMap<>();

    /** Counts the words of a text. */
    void add(String text) {
        WORD.matcher(text)
                .results()
                .map(MatchResult::group)
                .forEach(w -> counts.merge(visible(w), 1L, Long::sum));
    }

    /** The printable character that byte-level tokenizers show a byte as. */
    private static char visible(int b) {
        boolean printable = b > ' ' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae && b <= 0xff;
        if (printable) {
            return (char) b;
        }
        int rank = b <= ' ' ? b : b <= 0xa0 ? 33 + b - 0x7f : 67;
        return (char) (256 + rank);
    }

    private static String visible(String word) {
        StringBuilder out = new StringBuilder();
        for (byte b : word.getBytes(StandardCharsets.UTF_8)) {
            out.append(visible(b & 0xff));
        }
        return out.toString();
    }

    /** Learns merges until the vocabulary is full or no pair comes twice. */
    ObjectNode train(int vocabSize) {
        Map<String, Integer> vocabulary = new LinkedHashMap<>();
        SPECIAL.forEach(s -> vocabulary.put(s, vocabulary.size()));
        for (int b = 0; b < 256; b++) {
            vocabulary.put(String.valueOf(visible(b)), vocabulary.size());
        }
        List<List<String>> words = new ArrayList<>();
        List<Long> times = new ArrayList<>();
        counts.forEach(
                (word, count) -> {
                    words.add(
                            new ArrayList<>(
                                    word.chars().mapToObj(c -> String.valueOf((char) c)).toList()));
                    times.add(count);
                });
        List<Pair> merges = new ArrayList<>();
        while (vocabulary.size() < vocabSize) {
            Map<Pair, Long> pairs = pairs(words, times);
            Pair best =
                    pairs.keySet().stream()
                            .max(
                                    Comparator.<Pair>comparingLong(pairs::get)
                                            .thenComparing(Pair::left)
                                            .thenComparing(Pair::right))
                            .orElse(null);
            if (best == null || pairs.get(best) < 2) {
                break;
            }
            merges.add(best);
            vocabulary.putIfAbsent(best.left + best.right, vocabulary.size());
            words.forEach(word -> merge(word, best));
        }
        return json(vocabulary, merges);
    }

    private static Map<Pair, Long> pairs(List<List<String>> words, List<Long> times) {
        Map<Pair, Long> pairs = new HashMap<>();
        for (int w = 0; w < words.size(); w++) {
            List<String> word = words.get(w);
            for (int i = 0; i + 1 < word.size(); i++) {
                pairs.merge(new Pair(word.get(i), word.get(i + 1)), times.get(w), Long::sum);
            }
        }
        return pairs;
    }

    private static void merge(List<String> word, Pair pair) {
        for (int i = 0; i + 1 < word.size(); i++) {
            if (word.get(i).equals(pair.left) && word.get(i + 1).equals(pair.right)) {
                word.set(i, pair.left + pair.right);
                word.remove(i + 1);
            }
        }
    }

    private static ObjectNode json(Map<String, Integer> vocabulary, List<Pair> merges) {
        ObjectNode root = Json.object();
        root.put("version", "1.0");
        root.putNull("truncation");
        root.putNull("padding");
        ArrayNode added = root.putArray("added_tokens");
        for (String token : SPECIAL) {
            ObjectNode node = added.addObject();
            node.put("id", vocabulary.get(token));
            node.put("content", token);
            for (String flag : List.of("single_word", "lstrip", "rstrip", "normalized")) {
                node.put(flag, false);
            }
            node.put("special", true);
        }
        root.putNull("normalizer");
        byteLevel(root.putObject("pre_tokenizer"), true);
        beginFirst(root.putObject("post_processor"), vocabulary.get(BEGIN));
        byteLevel(root.putObject("decoder"), true);
        ObjectNode model = root.putObject("model");
        model.put("type", "BPE");
        model.putNull("dropout");
        model.putNull("unk_token");
        model.putNull("continuing_subword_prefix");
        model.putNull("end_of_word_suffix");
        model.put("fuse_unk", false);
        model.put("byte_fallback", false);
        ObjectNode ids = model.putObject("vocab");
        vocabulary.forEach(ids::put);
        ArrayNode list = model.putArray("merges");
        merges.forEach(m -> list.add(m.left + " " + m.right));
        return root;
    }

    private static void byteLevel(ObjectNode node, boolean split) {
        node.put("type", "ByteLevel");
        node.put("add_prefix_space", false);
        node.put("trim_offsets", true);
        node.put("use_regex", split);
    }

    /** Every text begins with {@link #BEGIN}; its end is the data's business. */
    private static void beginFirst(ObjectNode node, int id) {
        node.put("type", "TemplateProcessing");
        sequence(node.putArray("single"), 0, "A");
        ArrayNode pair = node.putArray("pair");
        sequence(pair, 0, "A");
        sequence(pair, 1, "B");
        ObjectNode token = node.putObject("special_tokens").putObject(BEGIN);
        token.put("id", BEGIN);
        token.putArray("ids").add(id);
        token.putArray("tokens").add(BEGIN);
    }

    private static void sequence(ArrayNode list, int type, String name) {
        list.addObject().putObject("SpecialToken").put("id", BEGIN).put("type_id", type);
        list.addObject().putObject("Sequence").put("id", name).put("type_id", type);
    }
}
