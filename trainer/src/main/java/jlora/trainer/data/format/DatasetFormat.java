package jlora.trainer.data.format;

import jlora.trainer.data.EncodeOptions;

import java.util.List;

/**
 * How the rows of one data set type become tokens and labels. Implementations keep no state: rows
 * are encoded by several threads in any order.
 */
public interface DatasetFormat {
    /** The name in the configuration: {@code type: prompt_completion}. */
    String name();

    /** The fields it reads, as they are called unless the configuration renames them. */
    List<String> fields();

    boolean needsTokenizer();

    /**
     * One row as tokens.
     *
     * @throws jlora.runtime.JloraException corrupt input, naming file and line
     */
    EncodedRow encode(JsonRow row, EncodeOptions options);
}
