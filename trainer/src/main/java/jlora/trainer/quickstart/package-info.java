/**
 * The text, the tokenizer and the first run that come with jlora: what {@code jlora quickstart}
 * shows.
 */
package jlora.trainer.quickstart;
