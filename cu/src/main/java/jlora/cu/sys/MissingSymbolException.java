package jlora.cu.sys;

/** A library was opened that lacks a function: it is too old. */
public final class MissingSymbolException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public MissingSymbolException(String message) {
        super(message);
    }
}
