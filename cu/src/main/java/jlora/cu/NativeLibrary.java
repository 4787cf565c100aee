package jlora.cu;

import java.lang.foreign.SymbolLookup;
import java.nio.file.Path;

/**
 * A native library that was found and opened; it stays open until the process ends.
 *
 * @param name its file name, such as {@code libcuda.so.1}
 * @param path where it was found; the bare name where the system's loader found it
 */
public record NativeLibrary(String name, Path path, SymbolLookup symbols) {}
