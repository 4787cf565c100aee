package jlora.trainer.metrics;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.OptionalInt;

/**
 * Whether standard output is a terminal, and how wide. The C library is asked, because {@code
 * System.console()} also wants standard input to be one and knows no width.
 */
@SuppressWarnings("restricted")
final class Terminal {
    private static final int STDOUT = 1;

    /** {@code TIOCGWINSZ} of asm-generic/ioctls.h: the same on x86-64 and AArch64 Linux. */
    private static final long GET_WINDOW_SIZE = 0x5413;

    private Terminal() {}

    static boolean isInteractive() {
        String kind = System.getenv("TERM");
        if (kind == null || kind.equals("dumb")) {
            return false;
        }
        try {
            MethodHandle isatty =
                    Linker.nativeLinker()
                            .downcallHandle(
                                    symbol("isatty"),
                                    FunctionDescriptor.of(
                                            ValueLayout.JAVA_INT, ValueLayout.JAVA_INT));
            return (int) isatty.invokeExact(STDOUT) == 1;
        } catch (Throwable t) {
            throw new AssertionError("isatty: bad binding", t);
        }
    }

    /** Columns of the terminal; empty where it does not say, or on another system than Linux. */
    static OptionalInt columns() {
        if (!System.getProperty("os.name").equals("Linux")) {
            return OptionalInt.empty();
        }
        try (Arena arena = Arena.ofConfined()) {
            MethodHandle ioctl =
                    Linker.nativeLinker()
                            .downcallHandle(
                                    symbol("ioctl"),
                                    FunctionDescriptor.of(
                                            ValueLayout.JAVA_INT,
                                            ValueLayout.JAVA_INT,
                                            ValueLayout.JAVA_LONG,
                                            ValueLayout.ADDRESS),
                                    Linker.Option.firstVariadicArg(2));
            MemorySegment size =
                    arena.allocate(ValueLayout.JAVA_SHORT, 4); // rows, columns, x and y pixels
            int status = (int) ioctl.invokeExact(STDOUT, GET_WINDOW_SIZE, size);
            int columns = Short.toUnsignedInt(size.getAtIndex(ValueLayout.JAVA_SHORT, 1));
            return status == 0 && columns > 0 ? OptionalInt.of(columns) : OptionalInt.empty();
        } catch (Throwable t) {
            throw new AssertionError("ioctl: bad binding", t);
        }
    }

    private static MemorySegment symbol(String name) {
        return Linker.nativeLinker().defaultLookup().findOrThrow(name);
    }
}
