package jlora.trainer.quickstart;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;

/**
 * Short English passages drawn from the templates of passages.txt and the lists of words.txt: the
 * text that the quickstart's base model learns to write. The same seed gives the same passages.
 */
final class Passages {
    private static final Pattern SENTENCE_START = Pattern.compile("(?<=^|[.!?] )\"?\\p{Ll}");
    private static final Pattern ARTICLE = Pattern.compile("\\b([Aa]) (?=[aeiou])");

    private final Words words;
    private final Names names;
    private final List<String> templates = new ArrayList<>();
    private final Random random;
    private final Map<String, Words.Entry> chosen = new HashMap<>();

    Passages(Words words, long seed) {
        this.words = words;
        this.names = new Names(words);
        this.random = new Random(seed);
        StringBuilder paragraph = new StringBuilder();
        for (String line : Words.lines("passages.txt")) {
            if (line.startsWith("#")) {
                continue;
            }
            paragraph.append(line).append(' ');
            if (line.isBlank()) {
                add(paragraph.toString().strip());
                paragraph.setLength(0);
            }
        }
        add(paragraph.toString().strip());
    }

    private void add(String paragraph) {
        if (paragraph.isEmpty()) {
            return;
        }
        int times = paragraph.startsWith("*") ? paragraph.charAt(1) - '0' : 1;
        String template = paragraph.startsWith("*") ? paragraph.substring(2).strip() : paragraph;
        for (int i = 0; i < times; i++) {
            templates.add(template);
        }
    }

    String next() {
        chosen.clear();
        String raw = expand(templates.get(random.nextInt(templates.size())));
        String spaced = raw.strip().replaceAll("\\s+", " ").replaceAll(" ([,.?!])", "$1");
        String articles = ARTICLE.matcher(spaced).replaceAll("$1n ");
        return SENTENCE_START.matcher(articles).replaceAll(Passages::upper);
    }

    private static String upper(MatchResult start) {
        return start.group().toUpperCase(java.util.Locale.ROOT);
    }

    /** Resolves choices from the outside in, so that only what is kept draws words. */
    private String expand(String template) {
        StringBuilder out = new StringBuilder();
        int at = 0;
        while (at < template.length()) {
            char c = template.charAt(at);
            if (c == '[') {
                int end = closing(template, at);
                List<String> options = options(template.substring(at + 1, end));
                out.append(expand(options.get(random.nextInt(options.size()))));
                at = end + 1;
            } else if (c == '{') {
                int end = template.indexOf('}', at);
                out.append(value(template.substring(at + 1, end)));
                at = end + 1;
            } else {
                out.append(c);
                at++;
            }
        }
        return out.toString();
    }

    private static int closing(String text, int open) {
        int depth = 0;
        for (int i = open; i < text.length(); i++) {
            depth += text.charAt(i) == '[' ? 1 : text.charAt(i) == ']' ? -1 : 0;
            if (depth == 0) {
                return i;
            }
        }
        throw new IllegalStateException("passages.txt: '[' is not closed in " + text);
    }

    private static List<String> options(String inside) {
        List<String> options = new ArrayList<>();
        int depth = 0;
        int from = 0;
        for (int i = 0; i < inside.length(); i++) {
            char c = inside.charAt(i);
            depth += c == '[' ? 1 : c == ']' ? -1 : 0;
            if (c == '|' && depth == 0) {
                options.add(inside.substring(from, i));
                from = i + 1;
            }
        }
        options.add(inside.substring(from));
        return options;
    }

    private String value(String slot) {
        int dot = slot.indexOf('.');
        String name = dot < 0 ? slot : slot.substring(0, dot);
        Words.Entry entry = chosen.get(name);
        if (entry == null) {
            entry = draw(name.replaceAll("\\d+$", ""));
            chosen.put(name, entry);
        }
        return entry.column(dot < 0 ? "text" : slot.substring(dot + 1));
    }

    /** An entry that the passage does not have yet. */
    private Words.Entry draw(String list) {
        Words.Entry entry;
        do {
            List<Words.Entry> all = list.equals("place") ? List.of() : words.list(list);
            entry = all.isEmpty() ? names.draw(random, false) : all.get(random.nextInt(all.size()));
        } while (chosen.containsValue(entry));
        return entry;
    }
}
