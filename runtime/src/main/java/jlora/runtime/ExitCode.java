package jlora.runtime;

/** Why a jlora process ended, as the number that a shell or a cluster scheduler sees. */
public enum ExitCode {
    DONE(0, "done"),
    USAGE(2, "usage or configuration"),
    CORRUPT_INPUT(3, "corrupt or hostile input"),
    OUT_OF_MEMORY(4, "does not fit in memory"),
    NUMERICS(5, "non-finite loss, gradient or weights"),
    GPU_FAULT(6, "GPU fault"),
    HANG(7, "hang or lost peer"),
    CHECKPOINT_IO(8, "checkpoint or output could not be written"),
    INTERNAL(70, "internal bug"),
    PREEMPTED(75, "preempted with a committed checkpoint"),
    INTERRUPTED(130, "interrupted before a checkpoint was committed"),
    TERMINATED(143, "terminated before a checkpoint was committed");

    private final int code;
    private final String meaning;

    ExitCode(int code, String meaning) {
        this.code = code;
        this.meaning = meaning;
    }

    public int code() {
        return code;
    }

    public String meaning() {
        return meaning;
    }
}
