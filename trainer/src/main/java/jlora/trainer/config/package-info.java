/**
 * Run configuration: YAML and command line in, checked immutable records out. Each key is one
 * record component whose {@link jlora.trainer.config.Key} annotation holds its default, unit,
 * bounds and meaning; reference page, help texts and the resolved configuration are generated from
 * it.
 */
package jlora.trainer.config;
