package jlora.cu;

/**
 * A library that is not on this machine, cannot be opened or has the wrong version, and the fix.
 */
public final class MissingLibraryException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public MissingLibraryException(String sentence) {
        super(sentence);
    }

    public MissingLibraryException(String sentence, Throwable cause) {
        super(sentence, cause);
    }
}
