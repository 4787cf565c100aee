package jlora.trainer.config;

import jlora.runtime.JloraException;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Command-line words that set keys: {@code --key value}, {@code --key=value}, {@code key=value}, a
 * lone {@code --flag}, several words after a list key, and {@code datasets[0].path=x} or {@code
 * datasets.0.path=x} for parts of a list.
 */
final class Overrides {
    private static final String COMMAND_LINE = "command line";

    private final List<String> words;
    private final Place place;
    private int next;

    private Overrides(List<String> words, Path workingFolder) {
        this.words = words;
        this.place = new Place(COMMAND_LINE, 0, workingFolder);
    }

    /**
     * Sets what the words say in the root mapping; later words win over earlier ones and over the
     * file.
     */
    static void apply(List<String> words, Path workingFolder, Raw.Mapping root) {
        Overrides overrides = new Overrides(words, workingFolder);
        while (overrides.next < words.size()) {
            overrides.applyNext(root);
        }
    }

    private void applyNext(Raw.Mapping root) {
        String word = words.get(next++);
        boolean dashed = word.startsWith("--");
        String body = dashed ? word.substring(2) : word;
        int equals = body.indexOf('=');
        if (equals == 0 || body.isEmpty() || (!dashed && equals < 0)) {
            throw JloraException.usage(
                    COMMAND_LINE + ": '" + word + "' sets nothing; write --key value or key=value");
        }
        String name = equals > 0 ? body.substring(0, equals) : body;
        List<String> path = path(name);
        Optional<Keys.Info> info = RunConfig.key(path.getFirst());
        boolean whole = path.size() == 1;
        List<String> values = new ArrayList<>();
        if (equals > 0) {
            values.add(body.substring(equals + 1));
        } else if (next < words.size() && !words.get(next).startsWith("--")) {
            boolean flagAlone =
                    whole
                            && info.filter(Keys.Info::isFlag).isPresent()
                            && words.get(next).contains("=");
            if (!flagAlone) {
                values.add(words.get(next++));
            }
        }
        if (equals < 0 && whole && info.filter(Keys.Info::isList).isPresent()) {
            while (next < words.size()
                    && !words.get(next).startsWith("--")
                    && !words.get(next).contains("=")) {
                values.add(words.get(next++));
            }
        }
        if (values.isEmpty()) {
            // An unknown key is better named as such than as one without a value.
            if (info.isPresent() && !(whole && info.get().isFlag())) {
                throw JloraException.usage(
                        COMMAND_LINE + ": --" + name + " has no value; write --" + name + " value");
            }
            values.add("true");
        }
        set(root, path, values.size() == 1 ? raw(values.getFirst()) : words(values));
    }

    /**
     * {@code datasets[0].text-field} as [datasets, 0, text_field]; below a map of names the rest is
     * one name.
     */
    private static List<String> path(String name) {
        String[] parts = name.replaceAll("\\[(\\d+)]", ".$1").split("\\.", 2);
        String first = RunConfig.canonical(parts[0].replace('-', '_'));
        if (parts.length == 1) {
            return List.of(first);
        }
        if (RunConfig.key(first).filter(Keys.Info::isMap).isPresent()) {
            return List.of(first, parts[1]);
        }
        List<String> path = new ArrayList<>(List.of(first));
        for (String part : parts[1].split("\\.", -1)) {
            path.add(part.replace('-', '_'));
        }
        return path;
    }

    private Raw raw(String text) {
        String t = text.strip();
        boolean yaml =
                t.length() >= 2
                        && (t.startsWith("[") && t.endsWith("]")
                                || t.startsWith("{") && t.endsWith("}")
                                || t.startsWith("\"") && t.endsWith("\"")
                                || t.startsWith("'") && t.endsWith("'"));
        return yaml ? YamlText.value(t, place) : new Raw.Scalar(text, true, place);
    }

    private Raw words(List<String> values) {
        return new Raw.Sequence(values.stream().map(this::raw).toList(), place);
    }

    private void set(Raw.Mapping root, List<String> path, Raw value) {
        Map<String, Raw.Entry> entries = root.entries();
        String first = path.getFirst();
        Optional<Keys.Info> info = RunConfig.key(first);
        if (path.size() == 1 || info.isEmpty()) {
            entries.put(
                    info.isEmpty() ? String.join(".", path) : first, new Raw.Entry(value, place));
            return;
        }
        if (info.get().isMap()) {
            mappingAt(entries, first).entries().put(path.get(1), new Raw.Entry(value, place));
            return;
        }
        if (!info.get().isList() || info.get().valueType() == ModuleNames.class) {
            throw JloraException.usage(
                    COMMAND_LINE
                            + ": "
                            + first
                            + " has no parts to set; write --"
                            + first
                            + " value");
        }
        if (path.size() != 3 || !path.get(1).matches("\\d{1,6}")) {
            throw JloraException.usage(
                    COMMAND_LINE
                            + ": '"
                            + String.join(".", path)
                            + "' is not a part of "
                            + first
                            + "; write "
                            + first
                            + "[0].path=FILE");
        }
        List<Raw> elements = sequenceAt(entries, first).elements();
        int index = Integer.parseInt(path.get(1));
        if (index > elements.size()) {
            throw JloraException.usage(
                    COMMAND_LINE
                            + ": "
                            + first
                            + "["
                            + index
                            + "] skips entries; the next free one is "
                            + first
                            + "["
                            + elements.size()
                            + "]");
        }
        if (index == elements.size()) {
            elements.add(new Raw.Mapping(Map.of(), place));
        }
        if (!(elements.get(index) instanceof Raw.Mapping element)) {
            throw ValueReader.wrong(
                    first + "[" + index + "]",
                    elements.get(index),
                    "a mapping such as {path: train.jsonl, type: text}");
        }
        element.entries().put(path.get(2), new Raw.Entry(value, place));
    }

    private Raw.Mapping mappingAt(Map<String, Raw.Entry> entries, String name) {
        Raw.Entry entry = entries.get(name);
        if (entry == null || !(entry.value() instanceof Raw.Mapping)) {
            entries.put(name, new Raw.Entry(new Raw.Mapping(Map.of(), place), place));
        }
        return (Raw.Mapping) entries.get(name).value();
    }

    private Raw.Sequence sequenceAt(Map<String, Raw.Entry> entries, String name) {
        Raw.Entry entry = entries.get(name);
        if (entry == null || !(entry.value() instanceof Raw.Sequence)) {
            entries.put(name, new Raw.Entry(new Raw.Sequence(List.of(), place), place));
        }
        return (Raw.Sequence) entries.get(name).value();
    }
}
