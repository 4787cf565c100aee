package jlora.trainer.config;

/** What the rows of a data set hold: plain text, a prompt with its completion, or token ids. */
public enum DatasetType {
    TEXT,
    PROMPT_COMPLETION,
    TOKENS
}
