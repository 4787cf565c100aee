package jlora.runtime.backend.cpu;

/** A call of oneDNN that failed: which, for what product, and why. */
final class OneDnnException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final int status;

    OneDnnException(String call, Object what, int status) {
        super(
                "oneDNN's "
                        + call
                        + " failed for "
                        + what
                        + ": "
                        + meaning(status)
                        + " (status "
                        + status
                        + ")");
        this.status = status;
    }

    /** True when oneDNN has no code for this on this processor. */
    boolean isUnimplemented() {
        return status == OneDnn.UNIMPLEMENTED;
    }

    private static String meaning(int status) {
        return switch (status) {
            case 1 -> "out of memory";
            case 2 -> "invalid arguments";
            case OneDnn.UNIMPLEMENTED -> "not implemented on this processor";
            case 5 -> "runtime error";
            default -> "unknown failure";
        };
    }
}
