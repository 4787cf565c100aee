package jlora.trainer.job;

import jlora.runtime.JloraException;
import jlora.runtime.StopRequest;
import jlora.runtime.io.Fingerprint;
import jlora.runtime.model.ModelConfig;
import jlora.trainer.config.DatasetConfig;
import jlora.trainer.config.DatasetType;
import jlora.trainer.config.RunConfig;
import jlora.trainer.data.BatchOptions;
import jlora.trainer.data.BatchSchedule;
import jlora.trainer.data.DataStatistics;
import jlora.trainer.data.DatasetLoader;
import jlora.trainer.data.DatasetSpec;
import jlora.trainer.data.EncodeOptions;
import jlora.trainer.data.Examples;
import jlora.trainer.data.Tokenizer;

import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * The data of a run: read, tokenised, split and scheduled.
 *
 * @param evaluation rows to evaluate on, in file order
 */
public record RunData(
        BatchSchedule training, Optional<BatchSchedule> evaluation, List<String> notes) {

    /**
     * Tokens of the longest sequence: max_length, and never more than the model has positions for.
     * Rows of type tokens are taken as they are: the default of max_length, made for text that can
     * be cut, does not bound them.
     */
    public static int maxLength(RunConfig config, ModelConfig model) {
        int wanted = config.data().maxLength();
        if (wanted > model.maxPositions() && config.isSet("max_length")) {
            throw JloraException.usage(
                    config.place("max_length").orElseThrow()
                            + ": max_length is "
                            + wanted
                            + ", but the model allows sequences of "
                            + model.maxPositions()
                            + " tokens; lower it.");
        }
        List<DatasetConfig> sets = new ArrayList<>(config.data().datasets());
        sets.addAll(config.data().evalDatasets());
        boolean asTheyAre =
                !config.isSet("max_length")
                        && !config.data().packing()
                        && !sets.isEmpty()
                        && sets.stream().allMatch(s -> s.type() == DatasetType.TOKENS);
        return asTheyAre ? model.maxPositions() : Math.min(wanted, model.maxPositions());
    }

    /** Tells these rows from others, for checkpoints; reads them all. */
    String fingerprint() {
        MessageDigest digest = Fingerprint.sha256();
        training.examples().digest(digest);
        evaluation.ifPresent(rows -> rows.examples().digest(digest));
        return "sha256:" + HexFormat.of().formatHex(digest.digest());
    }

    /**
     * Training data and, where the configuration has any, evaluation data.
     *
     * @param workers that share each step, in turn micro-batch by micro-batch
     */
    public static RunData forTraining(
            RunConfig config, ModelConfig model, int threads, int workers, StopRequest stop) {
        int maxLength = maxLength(config, model);
        DatasetLoader.Loaded loaded =
                load(config, config.data().datasets(), model, maxLength, threads, stop);
        Examples train = loaded.examples();
        Optional<Examples> eval = Optional.empty();
        if (config.data().evalSplit() > 0) {
            Examples.Split parts = split(config, train);
            train = parts.train();
            eval = Optional.of(parts.heldOut());
        } else if (!config.data().evalDatasets().isEmpty()) {
            eval =
                    Optional.of(
                            load(
                                            config,
                                            config.data().evalDatasets(),
                                            model,
                                            maxLength,
                                            threads,
                                            stop)
                                    .examples());
        }
        BatchSchedule training =
                new BatchSchedule(
                        train,
                        new BatchOptions(
                                config.train().perDeviceTrainBatchSize(),
                                Math.multiplyExact(
                                        config.train().gradientAccumulationSteps(), workers),
                                config.data().packing(),
                                maxLength,
                                config.data().shuffle(),
                                config.train().dataSeed()));
        DataStatistics statistics =
                loaded.statistics().withPackingEfficiency(training.packingEfficiency());
        List<String> notes = new ArrayList<>(statistics.describe());
        eval.ifPresent(
                e ->
                        notes.add(
                                e.size()
                                        + " rows, "
                                        + e.trainedTokens()
                                        + " trained tokens to evaluate on"));
        return new RunData(training, eval.map(e -> inOrder(config, e, maxLength)), notes);
    }

    private static Examples.Split split(RunConfig config, Examples rows) {
        double given = config.data().evalSplit();
        String place = config.place("eval_split").map(p -> p + ": ").orElse("");
        int count = (int) (given < 1 ? Math.ceil(given * rows.size()) : given);
        if (given >= rows.size() || count >= rows.size()) {
            throw JloraException.usage(
                    place
                            + "eval_split holds out all of "
                            + rows.size()
                            + (rows.size() == 1 ? " row" : " rows")
                            + "; lower it, or give eval_datasets.");
        }
        Examples.Split parts = rows.holdOut(count, config.train().dataSeed());
        for (Examples part : List.of(parts.train(), parts.heldOut())) {
            if (part.trainedTokens() == 0) {
                throw JloraException.usage(
                        place
                                + "eval_split leaves no token with a loss "
                                + (part == parts.train() ? "to train on" : "to evaluate on")
                                + "; change it, or give eval_datasets.");
            }
        }
        return parts;
    }

    private static BatchSchedule inOrder(RunConfig config, Examples examples, int maxLength) {
        return new BatchSchedule(
                examples, BatchOptions.inOrder(config.train().perDeviceEvalBatchSize(), maxLength));
    }

    /**
     * The rows to evaluate on: eval_datasets; without them those that eval_split holds out of
     * datasets, as in training; without it all of datasets.
     */
    public static Examples forEvaluation(RunConfig config, ModelConfig model, int threads) {
        List<DatasetConfig> given = config.data().evalDatasets();
        List<DatasetConfig> sets = given.isEmpty() ? config.data().datasets() : given;
        Examples rows =
                load(config, sets, model, maxLength(config, model), threads, new StopRequest())
                        .examples();
        return given.isEmpty() && config.data().evalSplit() > 0
                ? split(config, rows).heldOut()
                : rows;
    }

    private static DatasetLoader.Loaded load(
            RunConfig config,
            List<DatasetConfig> sets,
            ModelConfig model,
            int maxLength,
            int threads,
            StopRequest stop) {
        boolean text = sets.stream().anyMatch(s -> s.type() != DatasetType.TOKENS);
        Optional<Tokenizer> tokenizer =
                text
                        ? Optional.of(
                                Tokenizer.open(config.model().modelNameOrPath().orElseThrow()))
                        : Optional.empty();
        try {
            return DatasetLoader.load(
                    sets.stream().map(RunData::spec).toList(),
                    new EncodeOptions(
                            tokenizer,
                            model.vocabSize(),
                            maxLength,
                            config.data().completionOnlyLoss().orElse(true)),
                    threads,
                    () -> stop.check("the data were read"));
        } finally {
            tokenizer.ifPresent(Tokenizer::close);
        }
    }

    private static DatasetSpec spec(DatasetConfig set) {
        Map<String, String> fields = new LinkedHashMap<>();
        set.textField().ifPresent(f -> fields.put("text", f));
        set.promptField().ifPresent(f -> fields.put("prompt", f));
        set.completionField().ifPresent(f -> fields.put("completion", f));
        return new DatasetSpec(
                set.path(),
                set.type().name().toLowerCase(java.util.Locale.ROOT),
                fields,
                set.limit().isPresent()
                        ? OptionalInt.of(Math.toIntExact(set.limit().get()))
                        : OptionalInt.empty());
    }
}
