package jlora.trainer.config;

/** Where metrics go beside the console. */
public enum ReportTarget {
    JSONL,
    TENSORBOARD
}
