package jlora.trainer.config;

import jlora.runtime.JloraException;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Supplier;

/** Reads a YAML file and command-line words into a {@link RunConfig}. */
final class ConfigLoader {
    private ConfigLoader() {}

    static RunConfig load(Optional<Path> file, List<String> overrides, Path workingFolder) {
        Raw.Mapping root =
                file.map(YamlText::read)
                        .orElseGet(
                                () ->
                                        new Raw.Mapping(
                                                Map.of(),
                                                new Place("command line", 0, workingFolder)));
        useCanonicalNames(root);
        Overrides.apply(overrides, workingFolder, root);
        List<String> problems = new ArrayList<>();
        String help = "'jlora config keys' lists all";
        Map<String, Object> values =
                SectionReader.values("", RunConfig.keys(), root, help, problems);
        if (!problems.isEmpty()) {
            throw JloraException.usage(String.join("\n", problems));
        }
        Map<String, Place> places = new LinkedHashMap<>();
        root.entries()
                .forEach(
                        (name, entry) -> {
                            if (!Optional.empty().equals(values.get(name))) {
                                places.put(name, entry.keyPlace());
                            }
                        });
        refuseAdapterKeysOfFullTraining(values, places);
        refuseFrozenFullTraining(values, places);
        SectionReader.fillDefaults(RunConfig.keys(), values);
        fillDerived(values);
        RunConfig config =
                new RunConfig(
                        build(ModelConfig.class, values, places, problems),
                        build(BaseConfig.class, values, places, problems),
                        build(AdapterSettings.class, values, places, problems),
                        build(DataConfig.class, values, places, problems),
                        build(TrainConfig.class, values, places, problems),
                        build(SaveConfig.class, values, places, problems),
                        build(JobConfig.class, values, places, problems),
                        build(OutputConfig.class, values, places, problems),
                        places);
        if (problems.isEmpty()) {
            collect(
                    () -> {
                        config.save().requireAgreement(config.train());
                        return config;
                    },
                    places,
                    problems);
        }
        if (!problems.isEmpty()) {
            throw JloraException.usage(String.join("\n", problems));
        }
        return config;
    }

    private static void useCanonicalNames(Raw.Mapping root) {
        for (Map.Entry<String, Raw.Entry> entry : List.copyOf(root.entries().entrySet())) {
            String name = RunConfig.canonical(entry.getKey());
            if (name.equals(entry.getKey())) {
                continue;
            }
            Raw.Entry value = root.entries().remove(entry.getKey());
            if (root.entries().putIfAbsent(name, value) != null) {
                throw JloraException.usage(
                        value.keyPlace()
                                + ": "
                                + entry.getKey()
                                + " is another name of "
                                + name
                                + ", which is given too; keep one of them");
            }
        }
    }

    /** The defaults that depend on other keys: {@link Key#derived} says the same in words. */
    private static void fillDerived(Map<String, Object> values) {
        boolean lora = values.get("method") == TrainingMethod.LORA;
        values.putIfAbsent("learning_rate", lora ? 2e-4 : 2e-5);
        values.putIfAbsent("data_seed", values.get("seed"));
        Object maxSteps = values.get("max_steps");
        boolean endsBySteps =
                !maxSteps.equals(Optional.empty()) && !maxSteps.equals(Optional.of(-1));
        if (values.get("num_train_epochs").equals(Optional.empty()) && !endsBySteps) {
            values.put("num_train_epochs", Optional.of(3.0));
        }
        boolean everySteps = !values.get("eval_steps").equals(Optional.empty());
        boolean evalData =
                (double) values.get("eval_split") != 0
                        || !values.get("eval_datasets").equals(List.of());
        EvalStrategy usual = evalData ? EvalStrategy.EPOCH : EvalStrategy.NO;
        values.putIfAbsent("eval_strategy", everySteps ? EvalStrategy.STEPS : usual);
        if (values.get("eval_strategy") == EvalStrategy.STEPS && !everySteps) {
            values.put("eval_steps", Optional.of(values.get("logging_steps")));
        }
    }

    private static void refuseAdapterKeysOfFullTraining(
            Map<String, Object> values, Map<String, Place> places) {
        if (values.get("method") != TrainingMethod.FULL) {
            return;
        }
        List<String> adapterKeys = new ArrayList<>(List.of("adapter_name_or_path"));
        Keys.of(AdapterSettings.class).all().forEach(k -> adapterKeys.add(k.name()));
        for (String key : adapterKeys) {
            if (places.containsKey(key)) {
                throw JloraException.usage(
                        places.get(key)
                                + ": "
                                + key
                                + " has no effect with method full, which trains every weight;"
                                + " remove it or set method: lora");
            }
        }
    }

    /** Keys about frozen weights, with the value that says so. */
    private static final Map<String, Object> FROZEN =
            Map.of(
                    "shard_base",
                    true,
                    "load_in_4bit",
                    true,
                    "weight_dtype",
                    WeightType.FP8,
                    "offload",
                    Offload.HOST);

    private static void refuseFrozenFullTraining(
            Map<String, Object> values, Map<String, Place> places) {
        List<String> given =
                FROZEN.keySet().stream()
                        .filter(key -> FROZEN.get(key).equals(values.get(key)))
                        .sorted()
                        .toList();
        if (values.get("method") == TrainingMethod.FULL && !given.isEmpty()) {
            String key = given.getFirst();
            throw JloraException.usage(
                    places.get(key)
                            + ": "
                            + key
                            + " is about frozen weights, and method full freezes none; remove it"
                            + " or set method: lora");
        }
        // Four-bit weights may be in host memory; nothing else goes together.
        if (given.size() > 1 && !given.equals(List.of("load_in_4bit", "offload"))) {
            throw JloraException.usage(
                    places.get(given.getLast())
                            + ": "
                            + given.getLast()
                            + " and "
                            + given.getFirst()
                            + " each say how frozen weights are kept; remove one of them");
        }
    }

    /** The record, or null and a problem if it refuses a value. */
    private static <R extends Record> R build(
            Class<R> type,
            Map<String, Object> values,
            Map<String, Place> places,
            List<String> problems) {
        return collect(() -> SectionReader.build(type, values), places, problems);
    }

    private static <R> R collect(
            Supplier<R> checked, Map<String, Place> places, List<String> problems) {
        try {
            return checked.get();
        } catch (BadValueException e) {
            String where =
                    String.join(
                            ", ",
                            e.keys().stream()
                                    .map(places::get)
                                    .filter(Objects::nonNull)
                                    .map(Place::toString)
                                    .distinct()
                                    .toList());
            problems.add(where.isEmpty() ? e.getMessage() : where + ": " + e.getMessage());
            return null;
        }
    }
}
