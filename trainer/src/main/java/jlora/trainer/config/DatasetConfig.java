package jlora.trainer.config;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** One data set: a JSON Lines file and what its rows hold. */
public record DatasetConfig(
        @Key(
                        doc = "JSON Lines file, plain or gzip (.gz).",
                        required = true,
                        aka = {"file", "data_files", "dataset_name", "name"})
                Path path,
        @Key(
                        doc =
                                "What a row holds: text (one text), prompt_completion (a prompt and"
                                    + " its completion) or tokens (input_ids, labels and optionally"
                                    + " attention_mask, used as they are).",
                        required = true,
                        aka = {"format", "ds_type"})
                DatasetType type,
        @Key(
                        doc = "Field that holds the text of a text row.",
                        derived = "text, for type text",
                        aka = {"dataset_text_field", "field"})
                Optional<String> textField,
        @Key(
                        doc = "Field that holds the prompt of a prompt_completion row.",
                        derived = "prompt, for type prompt_completion")
                Optional<String> promptField,
        @Key(
                        doc = "Field that holds the completion of a prompt_completion row.",
                        derived = "completion, for type prompt_completion",
                        aka = {"response_field"})
                Optional<String> completionField,
        @Key(
                        doc = "Use only the first rows of the file.",
                        derived = "all rows",
                        unit = "rows",
                        bounds = "[1, inf)",
                        aka = {"max_samples", "num_samples"})
                Optional<Integer> limit) {
    public DatasetConfig {
        Keys.of(DatasetConfig.class).check("limit", limit);
        textField = field("text_field", textField, "text", type, DatasetType.TEXT);
        promptField =
                field("prompt_field", promptField, "prompt", type, DatasetType.PROMPT_COMPLETION);
        completionField =
                field(
                        "completion_field",
                        completionField,
                        "completion",
                        type,
                        DatasetType.PROMPT_COMPLETION);
    }

    private static Optional<String> field(
            String key, Optional<String> given, String usual, DatasetType type, DatasetType user) {
        if (type == user) {
            return Optional.of(given.orElse(usual));
        }
        if (given.isPresent()) {
            throw new BadValueException(
                    List.of(key),
                    key
                            + " has no meaning for a data set of type "
                            + Keys.nameOf(type)
                            + "; remove it or set type: "
                            + Keys.nameOf(user));
        }
        return Optional.empty();
    }
}
