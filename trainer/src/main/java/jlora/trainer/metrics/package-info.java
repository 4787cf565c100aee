/**
 * What a run tells while it goes: the listener that the training loop calls, and the listeners that
 * write {@code metrics.jsonl}, {@code trainer_state.json} and the progress on the console.
 */
package jlora.trainer.metrics;
