package jlora.trainer.data.format;

import jlora.trainer.data.Example;

/**
 * A row after its format has read it.
 *
 * @param truncated tokens were cut off to keep to max_length
 * @param boundaryMerged the last token of the prompt alone is not a token of prompt and completion
 *     together
 */
public record EncodedRow(Example example, boolean truncated, boolean boundaryMerged) {}
