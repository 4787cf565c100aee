package jlora.trainer.config;

import jlora.runtime.JloraException;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** What each command needs of a configuration, checked before anything is opened. */
final class Requirements {
    private Requirements() {}

    static void check(RunConfig config, Purpose purpose) {
        Path model =
                present(
                        config.model().modelNameOrPath(),
                        "model_name_or_path",
                        "the folder of the base model");
        DataConfig data = config.data();
        switch (purpose) {
            case TRAIN -> {
                present(config.output().outputDir(), "output_dir", "the folder for the results");
                nonEmpty(data.datasets(), "datasets", "the data to train on");
                files(config, "datasets", data.datasets());
                files(config, "eval_datasets", data.evalDatasets());
                if (config.train().evalStrategy() != EvalStrategy.NO && !data.hasEvalData()) {
                    throw JloraException.usage(
                            prefix(
                                            config,
                                            config.isSet("eval_strategy")
                                                    ? "eval_strategy"
                                                    : "eval_steps")
                                    + "there is nothing to evaluate on; give eval_datasets or"
                                    + " eval_split, or remove the key");
                }
            }
            case EVAL -> {
                if (data.evalDatasets().isEmpty()) {
                    nonEmpty(data.datasets(), "eval_datasets", "the data to evaluate on");
                    files(config, "datasets", data.datasets());
                }
                files(config, "eval_datasets", data.evalDatasets());
            }
            case MERGE -> {
                present(
                        config.model().adapterNameOrPath(),
                        "adapter_name_or_path",
                        "the adapter to merge");
                present(
                        config.output().outputDir(),
                        "output_dir",
                        "the folder for the merged model");
            }
            case PLAN, GENERATE -> {}
        }
        exists(
                config,
                "model_name_or_path",
                model,
                "download the model first (hf download NAME --local-dir FOLDER) and give its"
                        + " folder");
        config.model()
                .adapterNameOrPath()
                .ifPresent(
                        p ->
                                exists(
                                        config,
                                        "adapter_name_or_path",
                                        p,
                                        "give the folder of a PEFT adapter"));
        if (purpose == Purpose.TRAIN || purpose == Purpose.MERGE) {
            notTheModel(config, model);
        }
    }

    /** Results among the base model's files would replace it, or be taken for a part of it. */
    private static void notTheModel(RunConfig config, Path model) {
        Path output = config.output().outputDir().orElseThrow().toAbsolutePath().normalize();
        if (output.equals(model.toAbsolutePath().normalize())) {
            throw JloraException.usage(
                    prefix(config, "output_dir")
                            + "output_dir "
                            + output
                            + " is the folder of the base model; choose another folder");
        }
    }

    private static Path present(Optional<Path> value, String key, String what) {
        return value.orElseThrow(() -> missing(key, what));
    }

    private static void nonEmpty(List<DatasetConfig> value, String key, String what) {
        if (value.isEmpty()) {
            throw missing(key, what);
        }
    }

    private static JloraException missing(String key, String what) {
        return JloraException.usage(
                "configuration: "
                        + key
                        + " is missing; it names "
                        + what
                        + ", in the YAML file or as --"
                        + key);
    }

    private static void files(RunConfig config, String key, List<DatasetConfig> datasets) {
        for (int i = 0; i < datasets.size(); i++) {
            Path path = datasets.get(i).path();
            exists(config, key, key + "[" + i + "].path", path, "correct the path");
            if (Files.isDirectory(path)) {
                throw JloraException.usage(
                        prefix(config, key)
                                + key
                                + "["
                                + i
                                + "].path "
                                + path
                                + " is a folder; name one JSON Lines file");
            }
        }
    }

    private static void exists(RunConfig config, String key, Path path, String fix) {
        exists(config, key, key, path, fix);
    }

    private static void exists(RunConfig config, String key, String label, Path path, String fix) {
        if (!Files.exists(path)) {
            throw JloraException.usage(
                    prefix(config, key) + label + " " + path + " does not exist; " + fix);
        }
    }

    private static String prefix(RunConfig config, String key) {
        return config.place(key).map(p -> p + ": ").orElse("");
    }
}
