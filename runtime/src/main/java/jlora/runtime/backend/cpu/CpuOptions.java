package jlora.runtime.backend.cpu;

import jlora.runtime.JloraException;

import java.util.Objects;

/** How the CPU backend runs: results depend on both. */
public record CpuOptions(int threads, ProductLibrary products) {
    public CpuOptions {
        Objects.requireNonNull(products);
        if (threads < 1) {
            throw JloraException.usage(
                    threads
                            + " CPU threads: give at least 1, or leave it out to use every"
                            + " processor");
        }
    }

    /** Every processor, the best products that the platform has. */
    public static CpuOptions defaults() {
        return new CpuOptions(Runtime.getRuntime().availableProcessors(), ProductLibrary.AUTO);
    }
}
