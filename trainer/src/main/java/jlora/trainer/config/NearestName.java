package jlora.trainer.config;

import java.util.Collection;
import java.util.Comparator;
import java.util.Optional;

/** Finds the name that a misspelt one most likely stands for. */
final class NearestName {
    private NearestName() {}

    /**
     * The closest of the names: within one edit per four letters (at least one, at most three), or
     * one that contains the word as whole parts, as {@code lora_target_modules} contains {@code
     * target_modules}. Empty if nothing is close: a wrong guess is worse than none.
     */
    static Optional<String> of(String word, Collection<String> names) {
        String wanted = word.toLowerCase(java.util.Locale.ROOT).replace('-', '_');
        int limit = Math.clamp(wanted.length() / 4, 1, 3);
        Optional<String> close =
                names.stream()
                        .filter(n -> distance(wanted, n) <= limit)
                        .min(Comparator.comparingInt(n -> distance(wanted, n)));
        if (close.isPresent() || wanted.length() < 3) {
            return close;
        }
        return names.stream()
                .filter(n -> ("_" + n + "_").contains("_" + wanted + "_"))
                .min(Comparator.comparingInt(String::length));
    }

    /**
     * Damerau-Levenshtein distance in its optimal string alignment form: insertions, deletions,
     * substitutions and swaps of neighbours each cost one.
     */
    static int distance(String a, String b) {
        int[] beforeLast = new int[b.length() + 1];
        int[] last = new int[b.length() + 1];
        int[] row = new int[b.length() + 1];
        for (int j = 0; j <= b.length(); j++) {
            last[j] = j;
        }
        for (int i = 1; i <= a.length(); i++) {
            row[0] = i;
            for (int j = 1; j <= b.length(); j++) {
                int change = a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1;
                row[j] = Math.min(last[j - 1] + change, 1 + Math.min(last[j], row[j - 1]));
                if (i > 1
                        && j > 1
                        && a.charAt(i - 1) == b.charAt(j - 2)
                        && a.charAt(i - 2) == b.charAt(j - 1)) {
                    row[j] = Math.min(row[j], beforeLast[j - 2] + 1);
                }
            }
            int[] free = beforeLast;
            beforeLast = last;
            last = row;
            row = free;
        }
        return last[b.length()];
    }
}
