package jlora.trainer.config;

import jlora.runtime.JloraException;

import java.lang.reflect.InvocationTargetException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Reads mappings into the values of keys, and builds records from the values of their keys. */
final class SectionReader {
    private static final Raw.Scalar ABSENT =
            new Raw.Scalar("", true, new Place("default", 0, null));

    private SectionReader() {}

    /**
     * The values that a mapping gives; what cannot be read is added to the problems, one sentence
     * each.
     */
    static Map<String, Object> values(
            String prefix,
            Collection<Keys.Info> keys,
            Raw.Mapping mapping,
            String help,
            List<String> problems) {
        Map<String, Keys.Info> byName = new LinkedHashMap<>();
        keys.forEach(k -> byName.put(k.name(), k));
        Map<String, Object> values = new LinkedHashMap<>();
        mapping.entries()
                .forEach(
                        (name, entry) -> {
                            Keys.Info info = byName.get(name);
                            if (info == null) {
                                problems.add(unknown(prefix, name, entry.keyPlace(), keys, help));
                                return;
                            }
                            try {
                                values.put(
                                        name,
                                        ValueReader.read(
                                                prefix + name, info.type(), entry.value()));
                            } catch (JloraException e) {
                                problems.add(e.getMessage());
                            }
                        });
        return values;
    }

    private static String unknown(
            String prefix, String name, Place place, Collection<Keys.Info> keys, String help) {
        Optional<String> guess =
                keys.stream()
                        .filter(k -> List.of(k.key().aka()).contains(name))
                        .map(Keys.Info::name)
                        .findFirst();
        if (guess.isEmpty()) {
            guess = NearestName.of(name, keys.stream().map(Keys.Info::name).toList());
        }
        return place
                + ": unknown key '"
                + prefix
                + name
                + "'; "
                + guess.map(g -> "did you mean '" + prefix + g + "'?").orElse(help);
    }

    /** Adds the default of every key that has no value and no derived default. */
    static void fillDefaults(Collection<Keys.Info> keys, Map<String, Object> values) {
        for (Keys.Info info : keys) {
            if (values.containsKey(info.name())) {
                continue;
            }
            if (!info.key().value().isEmpty()) {
                Raw raw =
                        YamlText.value(
                                info.key().value(),
                                new Place("default of " + info.name(), 0, null));
                values.put(info.name(), ValueReader.read(info.name(), info.type(), raw));
            } else if (info.isOptional()) {
                values.put(info.name(), ValueReader.read(info.name(), info.type(), ABSENT));
            }
        }
    }

    /**
     * Builds a record from a value per component; a refused value surfaces as {@link
     * BadValueException}.
     */
    static <R extends Record> R build(Class<R> type, Map<String, Object> values) {
        Collection<Keys.Info> keys = Keys.of(type).all();
        try {
            return type.getDeclaredConstructor(
                            keys.stream()
                                    .map(k -> k.component().getType())
                                    .toArray(Class<?>[]::new))
                    .newInstance(
                            keys.stream()
                                    .map(
                                            k -> {
                                                if (!values.containsKey(k.name())) {
                                                    throw new IllegalStateException(
                                                            k.name()
                                                                    + " has neither a value nor a"
                                                                    + " default");
                                                }
                                                return values.get(k.name());
                                            })
                                    .toArray());
        } catch (InvocationTargetException e) {
            if (e.getCause() instanceof BadValueException bad) {
                throw bad;
            }
            throw new IllegalStateException("cannot build " + type.getSimpleName(), e.getCause());
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException("cannot build " + type.getSimpleName(), e);
        }
    }

    /** A record from a mapping of its own, such as one data set of a list. */
    static <R extends Record> R nested(String label, Class<R> type, Raw raw) {
        Collection<Keys.Info> keys = Keys.of(type).all();
        if (!(raw instanceof Raw.Mapping mapping)) {
            throw ValueReader.wrong(
                    label, raw, "a mapping such as {path: train.jsonl, type: prompt_completion}");
        }
        List<String> problems = new ArrayList<>();
        String known =
                "the keys here are "
                        + String.join(", ", keys.stream().map(Keys.Info::name).toList());
        Map<String, Object> values = values(label + ".", keys, mapping, known, problems);
        for (Keys.Info info : keys) {
            if (info.key().required() && !mapping.entries().containsKey(info.name())) {
                problems.add(
                        mapping.place() + ": " + label + " has no " + info.name() + "; add it");
            }
        }
        if (!problems.isEmpty()) {
            throw JloraException.usage(String.join("\n", problems));
        }
        fillDefaults(keys, values);
        try {
            return build(type, values);
        } catch (BadValueException e) {
            Place place =
                    e.keys().stream()
                            .filter(mapping.entries()::containsKey)
                            .map(k -> mapping.entries().get(k).keyPlace())
                            .findFirst()
                            .orElse(mapping.place());
            throw JloraException.usage(place + ": " + label + ": " + e.getMessage());
        }
    }
}
