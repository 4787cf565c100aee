package jlora.trainer.config;

import java.util.List;
import java.util.Optional;

/** What a run reads, and how rows become batches. */
public record DataConfig(
        @Key(
                        mayChange = true,
                        doc = "Data sets to train on, read one after the other.",
                        value = "[]",
                        aka = {"dataset", "dataset_name", "train_file", "train_data", "data"})
                List<DatasetConfig> datasets,
        @Key(
                        mayChange = true,
                        doc = "Data sets to evaluate on.",
                        value = "[]",
                        aka = {
                            "eval_dataset",
                            "validation_file",
                            "test_datasets",
                            "valid_datasets"
                        })
                List<DatasetConfig> evalDatasets,
        @Key(
                        doc =
                                "Rows of the training data held out for evaluation: a share below 1"
                                    + " or a number of rows; 0 holds out none. Not together with"
                                    + " eval_datasets.",
                        value = "0",
                        unit = "share or rows",
                        bounds = "[0, inf)",
                        aka = {"val_set_size", "test_size", "validation_split_percentage"})
                double evalSplit,
        @Key(
                        doc =
                                "Draw the rows in a new order each epoch (seeded by data_seed);"
                                        + " false keeps file order.",
                        value = "true",
                        aka = {"shuffle_dataset"})
                boolean shuffle,
        @Key(
                        doc =
                                "Fill each sequence of max_length tokens with several rows (best"
                                    + " fit). Rows packed together never attend to each other and"
                                    + " each starts at position 0.",
                        value = "false",
                        aka = {"sample_packing"})
                boolean packing,
        @Key(
                        doc =
                                "Tokens of the longest sequence. Longer text is cut there and"
                                        + " counted in the report; a longer row of token ids is an"
                                        + " error.",
                        value = "1024",
                        unit = "tokens",
                        bounds = "[2, inf)",
                        aka = {
                            "max_seq_length",
                            "max_seq_len",
                            "seq_len",
                            "sequence_len",
                            "block_size",
                            "cutoff_len"
                        })
                int maxLength,
        @Key(
                        doc = "Take the loss on completions only, not on prompts.",
                        derived = "true for prompt_completion data, false for text",
                        aka = {"train_on_inputs", "assistant_only_loss"})
                Optional<Boolean> completionOnlyLoss) {
    public DataConfig {
        datasets = List.copyOf(datasets);
        evalDatasets = List.copyOf(evalDatasets);
        Keys keys = Keys.of(DataConfig.class);
        keys.check("eval_split", evalSplit);
        keys.check("max_length", maxLength);
        if (evalSplit >= 1 && evalSplit != Math.rint(evalSplit)) {
            throw new BadValueException(
                    List.of("eval_split"),
                    "eval_split is "
                            + evalSplit
                            + ", but must be a share below 1 or a whole number of rows");
        }
        if (evalSplit > 0 && !evalDatasets.isEmpty()) {
            throw new BadValueException(
                    List.of("eval_split", "eval_datasets"),
                    "eval_split and eval_datasets are both given; keep the one that names the"
                            + " evaluation rows");
        }
    }

    /** Whether the run has rows to evaluate on. */
    public boolean hasEvalData() {
        return evalSplit > 0 || !evalDatasets.isEmpty();
    }
}
