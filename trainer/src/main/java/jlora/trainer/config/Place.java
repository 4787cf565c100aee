package jlora.trainer.config;

import java.nio.file.Path;

/**
 * Where a value was written: file and line or the command line, and the folder that its relative
 * paths start from.
 */
public record Place(String source, int line, Path base) {
    /** The place as an error names it. */
    @Override
    public String toString() {
        return line > 0 ? source + ":" + line : source;
    }
}
