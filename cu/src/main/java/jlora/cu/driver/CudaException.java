package jlora.cu.driver;

import jlora.cu.sys.CudaDriverConstants;

import java.util.Objects;

/**
 * A call that a CUDA library refused, with the caller's nouns. The kinds are closed: what a program
 * can do next differs between them.
 */
public abstract sealed class CudaException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    /**
     * @param call the function, such as {@code cuMemAlloc}
     * @param code its status
     * @param name the status by name, such as {@code CUDA_ERROR_OUT_OF_MEMORY}
     * @param detail what it was called for
     */
    public record Failure(String call, int code, String name, String detail) {
        public Failure {
            Objects.requireNonNull(call);
            Objects.requireNonNull(name);
            Objects.requireNonNull(detail);
        }

        @Override
        public String toString() {
            return call
                    + " returned "
                    + code
                    + " ("
                    + name
                    + ")"
                    + (detail.isEmpty() ? "" : ": " + detail);
        }
    }

    private final transient Failure failure;

    private CudaException(Failure failure) {
        super(failure.toString());
        this.failure = failure;
    }

    public Failure failure() {
        return failure;
    }

    /** The device has not this much memory left. */
    public static final class OutOfMemory extends CudaException {
        private static final long serialVersionUID = 1L;

        public OutOfMemory(Failure failure) {
            super(failure);
        }
    }

    /**
     * A kernel or the hardware failed; every later call of this context fails too, and the process
     * has to end.
     */
    public static final class ContextLost extends CudaException {
        private static final long serialVersionUID = 1L;

        public ContextLost(Failure failure) {
            super(failure);
        }
    }

    /** Anything else. */
    public static final class CallFailed extends CudaException {
        private static final long serialVersionUID = 1L;

        public CallFailed(Failure failure) {
            super(failure);
        }
    }

    /** The exception of a driver status that is not 0. */
    static CudaException of(Failure failure) {
        return switch (failure.code()) {
            case CudaDriverConstants.OUT_OF_MEMORY -> new OutOfMemory(failure);
            case CudaDriverConstants.DEVICE_UNAVAILABLE,
                    CudaDriverConstants.ECC_UNCORRECTABLE,
                    CudaDriverConstants.ILLEGAL_ADDRESS,
                    CudaDriverConstants.LAUNCH_TIMEOUT,
                    CudaDriverConstants.ASSERT,
                    CudaDriverConstants.HARDWARE_STACK_ERROR,
                    CudaDriverConstants.ILLEGAL_INSTRUCTION,
                    CudaDriverConstants.MISALIGNED_ADDRESS,
                    CudaDriverConstants.INVALID_ADDRESS_SPACE,
                    CudaDriverConstants.INVALID_PC,
                    CudaDriverConstants.LAUNCH_FAILED,
                    CudaDriverConstants.UNKNOWN ->
                    new ContextLost(failure);
            default -> new CallFailed(failure);
        };
    }
}
