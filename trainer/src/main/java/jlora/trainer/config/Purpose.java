package jlora.trainer.config;

/** What a configuration is read for, which decides what it must contain. */
public enum Purpose {
    /** Needs a model, data sets and an output folder. */
    TRAIN,
    /** Needs a model. */
    PLAN,
    /** Needs a model and data to evaluate on: eval_datasets, or datasets where there are none. */
    EVAL,
    /** Needs a model. */
    GENERATE,
    /** Needs a model, an adapter and an output folder. */
    MERGE
}
