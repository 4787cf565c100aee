package jlora.trainer.job;

import jlora.cu.CudaLibraries;
import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.UserCache;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.backend.cuda.AttentionEngine;
import jlora.runtime.backend.cuda.CudaBackend;
import jlora.trainer.config.ByteSize;
import jlora.trainer.config.ModelConfig;
import jlora.trainer.config.RunConfig;
import jlora.trainer.launch.Ranks;

import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;

/**
 * Opens the device that a configuration asks for; one that is asked for and not there is an error.
 */
public final class Backends {
    private static final String CUDA = "cuda";

    private Backends() {}

    /** The same, with words about the choice that {@code device: auto} made thrown away. */
    public static Backend open(RunConfig config) {
        return open(config, note -> {});
    }

    /**
     * @param note hears why {@code device: auto} does not take a GPU whose driver is installed, and
     *     what keeps a GPU from its best
     */
    public static Backend open(RunConfig config, Consumer<String> note) {
        return open(config, Ranks.of(Map.of()), note);
    }

    /**
     * The device of one of several workers: each takes the GPU of its number on its machine.
     *
     * @param note as above
     */
    public static Backend open(RunConfig config, Ranks ranks, Consumer<String> note) {
        return switch (config.model().device()) {
            case "cpu" -> cpu(config);
            case "auto" -> automatic(config, ranks, note);
            default -> requested(config, ranks, note);
        };
    }

    /** A launcher may have shown each worker one GPU alone, which is then number 0 for all. */
    private static int ordinal(Ranks ranks) {
        String visible = System.getenv().getOrDefault("CUDA_VISIBLE_DEVICES", "");
        boolean one = !visible.isBlank() && !visible.contains(",");
        return one ? 0 : ranks.localRank();
    }

    private static Backend cpu(RunConfig config) {
        AttentionEngine attention = config.model().attention();
        if (attention != AttentionEngine.AUTO) {
            throw JloraException.usage(
                    config.place("attention").map(p -> p + ": ").orElse("")
                            + "attention is "
                            + attention.name().toLowerCase(Locale.ROOT)
                            + ", which chooses among kernels for GPUs, but this run is on the CPU;"
                            + " remove it or set device: cuda.");
        }
        String products = config.model().products().name().toLowerCase(Locale.ROOT);
        return new CpuBackend(new CpuOptions(threads(config), ProductLibrary.of(products)));
    }

    private static Backend requested(RunConfig config, Ranks ranks, Consumer<String> note) {
        String device = config.model().device();
        boolean numbered = !device.equals(CUDA);
        if (numbered && ranks.several()) {
            throw JloraException.usage(
                    config.place("device").map(p -> p + ": ").orElse("")
                            + "device is "
                            + device
                            + ", but there are "
                            + ranks.worldSize()
                            + " workers, and each takes the GPU of its number on its machine;"
                            + " write device: cuda.");
        }
        int ordinal =
                numbered ? Integer.parseInt(device.substring(CUDA.length() + 1)) : ordinal(ranks);
        try {
            return cuda(config, CudaLibraries.find(), ordinal, note);
        } catch (JloraException e) {
            String place = config.place("device").map(p -> p + ": ").orElse("");
            throw new JloraException(
                    e.exitCode(), place + "device is " + device + ", but " + e.getMessage(), e);
        }
    }

    /** Only what is missing sends a run to the CPU; a GPU that fails is an error here too. */
    private static Backend automatic(RunConfig config, Ranks ranks, Consumer<String> note) {
        CudaLibraries libraries = CudaLibraries.find();
        if (!libraries.hasDriver()) {
            return cpu(config);
        }
        try {
            return cuda(config, libraries, ordinal(ranks), note);
        } catch (JloraException e) {
            // Of several workers, all have to choose the same.
            if (e.exitCode() != ExitCode.USAGE || ranks.several()) {
                throw e;
            }
            note.accept("device: auto takes the CPU: " + e.getMessage());
            return cpu(config);
        }
    }

    private static Backend cuda(
            RunConfig config, CudaLibraries libraries, int ordinal, Consumer<String> note) {
        CudaBackend backend =
                new CudaBackend(
                        libraries,
                        ordinal,
                        config.model().cudaBinding(),
                        config.model().attention(),
                        UserCache.folder());
        backend.notes().forEach(note);
        return backend;
    }

    /** What a plan may take of an opened backend: no more than the configuration grants. */
    public static Device device(RunConfig config, Backend backend) {
        ModelConfig model = config.model();
        if (backend instanceof CudaBackend cuda) {
            Device device = Device.of(cuda);
            // More than what is free cannot be granted.
            return model.memoryLimit()
                    .filter(limit -> limit.bytes() < device.bytes())
                    .map(limit -> device.limitedTo(limit.bytes()))
                    .orElse(device);
        }
        return limited(config, Device.cpu());
    }

    /** A device that need not be here, with the configuration's limit on it. */
    public static Device limited(RunConfig config, Device device) {
        return config.model()
                .memoryLimit()
                .map(ByteSize::bytes)
                .map(device::limitedTo)
                .orElse(device);
    }

    /** Threads of the CPU backend and of tokenising. */
    public static int threads(RunConfig config) {
        return config.model().cpuThreads().orElse(Runtime.getRuntime().availableProcessors());
    }
}
