package jlora.runtime;

import java.util.Optional;

/**
 * Whether a job was asked to end, by a signal or by the program that runs it. Whatever may take
 * longer than a moment polls it; any thread may ask.
 */
public final class StopRequest {
    private volatile String reason;
    private volatile Runnable checked = () -> {};

    /**
     * Asks for the end; only the first reason is kept.
     *
     * @param why what asked, for messages, such as {@code SIGTERM}
     */
    public synchronized void ask(String why) {
        if (reason == null) {
            reason = why;
        }
    }

    public boolean asked() {
        return reason != null;
    }

    /** What asked; empty while nothing has. */
    public Optional<String> reason() {
        return Optional.ofNullable(reason);
    }

    /** Lets somebody hear that work polls, which shows that it moves. */
    public void onCheck(Runnable action) {
        checked = action;
    }

    /**
     * Ends work that has nothing to save.
     *
     * @param phase what goes on, to follow "while", such as {@code the model was loaded}
     * @throws JloraException with {@link ExitCode#PREEMPTED} once the end was asked for
     */
    public void check(String phase) {
        checked.run();
        if (asked()) {
            throw new JloraException(
                    ExitCode.PREEMPTED,
                    reason
                            + " while "
                            + phase
                            + ": nothing that was trained is lost; start the same command again.");
        }
    }
}
