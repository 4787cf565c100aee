package jlora.trainer.launch;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** Sends signals that {@link Process#destroy} does not know. */
enum PosixSignal {
    KILL(9),
    USR1(10),
    TERM(15);

    @SuppressWarnings("restricted")
    private static final MethodHandle SEND =
            Linker.nativeLinker()
                    .downcallHandle(
                            Linker.nativeLinker().defaultLookup().findOrThrow("kill"),
                            FunctionDescriptor.of(
                                    ValueLayout.JAVA_INT,
                                    ValueLayout.JAVA_INT,
                                    ValueLayout.JAVA_INT));

    private final int number; // of Linux on x86-64 and arm64

    PosixSignal(int number) {
        this.number = number;
    }

    /** To one process; that it has ended already is no failure. */
    void send(Process process) {
        send((int) process.pid());
    }

    /** To a process that leads a group, and to all of its group. */
    void sendToGroup(Process leader) {
        send((int) -leader.pid());
    }

    private void send(int target) {
        try {
            int ignored = (int) SEND.invokeExact(target, number);
        } catch (Throwable t) {
            throw new AssertionError("kill: bad binding", t);
        }
    }
}
