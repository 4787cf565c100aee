package jlora.trainer.config;

/** What a run prints: text for people, or one JSON object a line for log collectors. */
public enum LogFormat {
    TEXT,
    JSON
}
