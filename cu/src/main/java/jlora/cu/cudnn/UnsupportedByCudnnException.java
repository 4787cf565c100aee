package jlora.cu.cudnn;

/** What was asked for is beyond this version of cuDNN or this device: which, and what would do. */
public final class UnsupportedByCudnnException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    public UnsupportedByCudnnException(String sentence) {
        super(sentence);
    }
}
