package jlora.trainer.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Byte-pair encoding written from its definition, for tokenizers like stories260k's: the oracle for
 * ids.
 */
final class NaiveBpe {
    private final Map<String, Integer> vocab = new HashMap<>();
    private final Map<List<String>, Integer> ranks = new HashMap<>();

    NaiveBpe(Path tokenizerJson) throws IOException {
        JsonNode model = new ObjectMapper().readTree(tokenizerJson.toFile()).path("model");
        model.path("vocab")
                .properties()
                .forEach(e -> vocab.put(e.getKey(), e.getValue().intValue()));
        for (JsonNode merge : model.path("merges")) {
            ranks.put(List.of(merge.get(0).textValue(), merge.get(1).textValue()), ranks.size());
        }
    }

    int[] encode(String text) {
        if (text.isEmpty()) {
            return new int[0];
        }
        List<String> parts = new ArrayList<>();
        ("▁" + text.replace(" ", "▁"))
                .codePoints()
                .forEach(c -> parts.add(new String(Character.toChars(c))));
        while (true) {
            int best = Integer.MAX_VALUE;
            int at = -1;
            for (int i = 0; i + 1 < parts.size(); i++) {
                int rank =
                        ranks.getOrDefault(
                                List.of(parts.get(i), parts.get(i + 1)), Integer.MAX_VALUE);
                if (rank < best) {
                    best = rank;
                    at = i;
                }
            }
            if (at < 0) {
                break;
            }
            parts.set(at, parts.get(at) + parts.remove(at + 1));
        }
        List<Integer> ids = new ArrayList<>();
        for (String part : parts) {
            if (vocab.containsKey(part)) {
                ids.add(vocab.get(part));
            } else {
                for (byte b : part.getBytes(StandardCharsets.UTF_8)) {
                    ids.add(vocab.get(String.format("<0x%02X>", b & 0xFF)));
                }
            }
        }
        return ids.stream().mapToInt(i -> i).toArray();
    }
}
