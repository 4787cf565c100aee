package jlora.trainer.config;

import jlora.runtime.JloraException;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Everything a run is told, checked and immutable. The YAML is flat; the records group it by who
 * uses it. {@code places} says which keys were given and where; it does not count for equality.
 */
public record RunConfig(
        ModelConfig model,
        BaseConfig base,
        AdapterSettings adapter,
        DataConfig data,
        TrainConfig train,
        SaveConfig save,
        JobConfig job,
        OutputConfig output,
        Map<String, Place> places) {
    /** The groups, in the order of the reference page. */
    static final List<Class<? extends Record>> SECTIONS =
            List.of(
                    ModelConfig.class,
                    BaseConfig.class,
                    AdapterSettings.class,
                    DataConfig.class,
                    TrainConfig.class,
                    SaveConfig.class,
                    JobConfig.class,
                    OutputConfig.class);

    private static final Map<String, Keys.Info> KEYS =
            SECTIONS.stream()
                    .flatMap(s -> Keys.of(s).all().stream())
                    .collect(
                            Collectors.toMap(
                                    Keys.Info::name,
                                    k -> k,
                                    (a, _) -> {
                                        throw new IllegalStateException(
                                                "two keys are named " + a.name());
                                    },
                                    LinkedHashMap::new));

    public RunConfig {
        places = Collections.unmodifiableMap(new LinkedHashMap<>(places));
    }

    /**
     * Reads a YAML file and the command-line words that override it; relative paths of the words
     * start here.
     */
    public static RunConfig load(Optional<Path> file, List<String> overrides) {
        return ConfigLoader.load(file, overrides, Path.of("").toAbsolutePath());
    }

    /**
     * How to tell that a configuration is wrong: log_format as far as it can be made out from what
     * need not be a valid configuration. Nothing is thrown.
     */
    public static LogFormat logFormat(Optional<Path> file, List<String> words) {
        return RequestedLogFormat.of(file, words);
    }

    /** The configuration that consists of defaults alone. */
    public static RunConfig defaults() {
        return load(Optional.empty(), List.of());
    }

    /** The names of all keys, in the order of the reference page. */
    public static List<String> keyNames() {
        return List.copyOf(KEYS.keySet());
    }

    /** The names of the keys of one group. */
    public static List<String> keyNames(Class<? extends Record> section) {
        return Keys.of(section).all().stream().map(Keys.Info::name).toList();
    }

    private static final Map<String, String> ALSO =
            KEYS.values().stream()
                    .flatMap(k -> Arrays.stream(k.key().also()).map(a -> Map.entry(a, k.name())))
                    .collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue));

    /** The name under which a key is kept, whichever of its accepted names is written. */
    static String canonical(String name) {
        return ALSO.getOrDefault(name, name);
    }

    static Optional<Keys.Info> key(String name) {
        return Optional.ofNullable(KEYS.get(name));
    }

    static List<Keys.Info> keys() {
        return List.copyOf(KEYS.values());
    }

    /** Whether the file or the command line gave the key a value, rather than its default. */
    public boolean isSet(String key) {
        return place(key).isPresent();
    }

    /** Where the key was given. */
    public Optional<Place> place(String key) {
        if (!KEYS.containsKey(key)) {
            throw new IllegalArgumentException("there is no key " + key);
        }
        return Optional.ofNullable(places.get(key));
    }

    /** The value of a key by its name. */
    public Object value(String key) {
        Keys.Info info =
                key(key).orElseThrow(() -> new IllegalArgumentException("there is no key " + key));
        return sections().stream()
                .filter(s -> s.getClass() == info.component().getDeclaringRecord())
                .map(info::of)
                .findFirst()
                .orElseThrow();
    }

    /** Every key with its value, as the report shows them. */
    public List<Setting> settings() {
        return sections().stream()
                .flatMap(
                        section ->
                                Keys.of(section.getClass()).all().stream()
                                        .map(
                                                k ->
                                                        new Setting(
                                                                k.name(),
                                                                ConfigYaml.inline(k.of(section)),
                                                                isSet(k.name()))))
                .toList();
    }

    /**
     * Where another configuration differs in what a run must keep when it goes on from a checkpoint
     * of this one, in words.
     */
    public List<String> differences(RunConfig other) {
        return keys().stream()
                .filter(k -> !k.key().mayChange())
                .filter(k -> !value(k.name()).equals(other.value(k.name())))
                .map(
                        k ->
                                k.name()
                                        + " is "
                                        + ConfigYaml.inline(other.value(k.name()))
                                        + " instead of "
                                        + ConfigYaml.inline(value(k.name())))
                .toList();
    }

    /** What the configuration says that has no effect, one sentence each, to be shown once. */
    public List<String> notes() {
        List<String> notes = new ArrayList<>(train.notes());
        notes.addAll(base.notes(this));
        return notes;
    }

    List<Record> sections() {
        return List.of(model, base, adapter, data, train, save, job, output);
    }

    /** Checks that the configuration has what a command needs and that the files it names exist. */
    public void require(Purpose purpose) {
        Requirements.check(this, purpose);
    }

    /**
     * The same run with the settings of a saved adapter. A key that was given and says something
     * else than the adapter is an error that names both places.
     *
     * @param settled keys whose values may be spelled differently, since the caller knows that they
     *     come to the same
     */
    public RunConfig withSavedAdapter(AdapterSettings saved, Path savedIn, Set<String> settled) {
        for (Keys.Info info : Keys.of(AdapterSettings.class).all()) {
            if (isSet(info.name())
                    && !settled.contains(info.name())
                    && !info.of(adapter).equals(info.of(saved))) {
                throw JloraException.usage(
                        places.get(info.name())
                                + ": "
                                + info.name()
                                + " is "
                                + ConfigYaml.inline(info.of(adapter))
                                + ", but the adapter in "
                                + savedIn
                                + " has "
                                + ConfigYaml.inline(info.of(saved))
                                + "; remove the key or start a new adapter");
            }
        }
        return new RunConfig(model, base, saved, data, train, save, job, output, places);
    }

    /** The same run over weights in four bits. */
    public RunConfig in4bit() {
        return new RunConfig(model, base.in4bit(), adapter, data, train, save, job, output, places);
    }

    /**
     * The configuration as YAML with every default filled in, which reads back as an equal
     * configuration.
     */
    public String toYaml() {
        return ConfigYaml.write(this);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof RunConfig that && sections().equals(that.sections());
    }

    @Override
    public int hashCode() {
        return Objects.hashCode(sections());
    }
}
