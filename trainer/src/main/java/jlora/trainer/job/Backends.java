package jlora.trainer.job;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.trainer.config.ModelConfig;
import jlora.trainer.config.RunConfig;

import java.util.Locale;

/**
 * Opens the device that a configuration asks for; one that is asked for and not there is an error.
 */
public final class Backends {
    private Backends() {}

    public static Backend open(RunConfig config) {
        ModelConfig model = config.model();
        if (model.device().startsWith("cuda")) {
            throw JloraException.usage(
                    config.place("device").map(Object::toString).orElse("configuration")
                            + ": device is "
                            + model.device()
                            + ", but this build of jlora has no CUDA backend; set device: cpu.");
        }
        return new CpuBackend(
                new CpuOptions(
                        threads(config),
                        ProductLibrary.of(model.products().name().toLowerCase(Locale.ROOT))));
    }

    /** Threads of the CPU backend and of tokenising. */
    public static int threads(RunConfig config) {
        return config.model().cpuThreads().orElse(Runtime.getRuntime().availableProcessors());
    }

    /** Bytes that a run may take: what the configuration grants, else what the machine has left. */
    public static long memoryLimit(RunConfig config) {
        return config.model().memoryLimit().map(l -> l.bytes()).orElseGet(HostMemory::available);
    }
}
