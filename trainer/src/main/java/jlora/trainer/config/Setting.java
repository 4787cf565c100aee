package jlora.trainer.config;

/** One key as it stands in a run: its value as YAML would spell it, and whether it was given. */
public record Setting(String key, String value, boolean given) {}
