package jlora.trainer.quickstart;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The things of the quickstart's world, by list: people, kinds of places, food, hours. An entry has
 * a text and further columns with its grammar or what it stands for.
 */
final class Words {
    /**
     * @param columns by name; {@code text} is the entry itself
     */
    record Entry(Map<String, String> columns) {
        String text() {
            return columns.get("text");
        }

        /** A column; a name that begins with a capital letter gives the value with one. */
        String column(String name) {
            String plain =
                    name.substring(0, 1).toLowerCase(java.util.Locale.ROOT) + name.substring(1);
            String value = columns.get(plain);
            if (value == null) {
                throw new IllegalArgumentException("'" + text() + "' has no column " + plain);
            }
            return plain.equals(name) ? value : capital(value);
        }
    }

    private final Map<String, List<Entry>> lists = new LinkedHashMap<>();

    private Words() {}

    /** The lists of words.txt. */
    static Words load() {
        Words words = new Words();
        List<Entry> list = null;
        String[] names = {};
        for (String line : lines("words.txt")) {
            if (line.isBlank() || line.startsWith("#")) {
                continue;
            }
            if (line.startsWith("[")) {
                int end = line.indexOf(']');
                names = ("text " + line.substring(end + 1)).strip().split("\\s+");
                list = new ArrayList<>();
                words.lists.put(line.substring(1, end), list);
                continue;
            }
            String[] cells = line.split("\\s*\\|\\s*");
            if (list == null || cells.length != names.length) {
                throw new IllegalStateException(
                        "words.txt: '" + line + "' does not fit its heading");
            }
            Map<String, String> columns = new LinkedHashMap<>();
            for (int i = 0; i < cells.length; i++) {
                columns.put(names[i], cells[i].strip());
            }
            list.add(new Entry(columns));
        }
        return words;
    }

    /** The lines of a resource of this package. */
    static List<String> lines(String resource) {
        try (InputStream in = Words.class.getResourceAsStream(resource)) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8).lines().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    List<Entry> list(String name) {
        List<Entry> list = lists.get(name);
        if (list == null) {
            throw new IllegalArgumentException("words.txt has no list " + name);
        }
        return list;
    }

    static String capital(String text) {
        return text.isEmpty() ? text : Character.toUpperCase(text.charAt(0)) + text.substring(1);
    }
}
