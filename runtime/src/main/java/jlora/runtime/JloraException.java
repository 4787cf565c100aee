package jlora.runtime;

import java.util.Objects;

/**
 * A failure that a user can act on: one sentence with the place, the cause and the fix, and the
 * exit code of the process that it ends. Anything else that is thrown is a bug of jlora's ({@link
 * ExitCode#INTERNAL}).
 */
public final class JloraException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final ExitCode exitCode;

    public JloraException(ExitCode exitCode, String sentence) {
        this(exitCode, sentence, null);
    }

    public JloraException(ExitCode exitCode, String sentence, Throwable cause) {
        super(Objects.requireNonNull(sentence), cause);
        this.exitCode = Objects.requireNonNull(exitCode);
    }

    /** Wrong usage or configuration: exit code 2. */
    public static JloraException usage(String sentence) {
        return new JloraException(ExitCode.USAGE, sentence);
    }

    /** An input file that is corrupt, hostile or of the wrong kind: exit code 3. */
    public static JloraException corrupt(String sentence) {
        return new JloraException(ExitCode.CORRUPT_INPUT, sentence);
    }

    public ExitCode exitCode() {
        return exitCode;
    }
}
