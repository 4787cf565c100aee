package jlora.cu.sys;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/** Makes handles for the functions of one library. */
final class Downcalls {
    static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT;
    static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG;
    static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;
    static final ValueLayout POINTER = ValueLayout.ADDRESS;

    private final String library;
    private final SymbolLookup symbols;
    private final String needed;

    Downcalls(String library, SymbolLookup symbols) {
        this(library, symbols, "CUDA 12");
    }

    /**
     * @param needed the oldest version with all functions that are asked for
     */
    Downcalls(String library, SymbolLookup symbols, String needed) {
        this.library = library;
        this.symbols = symbols;
        this.needed = needed;
    }

    /** A function that returns an int status. */
    MethodHandle status(String name, MemoryLayout... parameters) {
        return function(name, FunctionDescriptor.of(INT, parameters));
    }

    /** A function with any result. */
    MethodHandle function(String name, FunctionDescriptor descriptor) {
        return optional(name, descriptor)
                .orElseThrow(
                        () ->
                                new MissingSymbolException(
                                        library
                                                + " has no function "
                                                + name
                                                + ": it is older than what jlora needs ("
                                                + needed
                                                + ")"));
    }

    /** The same, or empty where the library is too old to have it. */
    Optional<MethodHandle> optional(String name, MemoryLayout... parameters) {
        return optional(name, FunctionDescriptor.of(INT, parameters));
    }

    @SuppressWarnings("restricted")
    private Optional<MethodHandle> optional(String name, FunctionDescriptor descriptor) {
        return symbols.find(name)
                .map(address -> Linker.nativeLinker().downcallHandle(address, descriptor));
    }

    /**
     * What a call through a handle of ours can throw is a wrong binding, never the library's error.
     */
    static AssertionError badBinding(String name, Throwable cause) {
        return new AssertionError(name + ": bad binding", cause);
    }

    /** A C string that the library owns. */
    @SuppressWarnings("restricted")
    static String string(MemorySegment pointer) {
        return pointer.equals(MemorySegment.NULL)
                ? ""
                : pointer.reinterpret(Long.MAX_VALUE).getString(0);
    }
}
