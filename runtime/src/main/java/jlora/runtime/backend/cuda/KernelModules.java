package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaFunction;
import jlora.cu.driver.CudaModule;
import jlora.runtime.Resources;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The compiled kernel files of the build, each loaded when one of its kernels is first asked for. A
 * kernel's name begins with its file's.
 */
final class KernelModules implements AutoCloseable {
    private static final String FOLDER = "/jlora/kernels/";

    private final CudaContext context;
    private final List<String> files;
    private final Resources modules = new Resources();
    private final Map<String, CudaModule> loaded = new HashMap<>();

    private KernelModules(CudaContext context, List<String> files) {
        this.context = context;
        this.files = files;
    }

    static KernelModules load(CudaContext context) {
        String list = new String(resource("kernels.list"), StandardCharsets.UTF_8);
        return new KernelModules(context, list.lines().toList());
    }

    CudaFunction function(String kernel) {
        String file =
                files.stream()
                        .filter(name -> kernel.startsWith(name + "_"))
                        .max((a, b) -> a.length() - b.length())
                        .orElseThrow(
                                () ->
                                        new IllegalArgumentException(
                                                "no kernel file for " + kernel + " in " + files));
        return loaded.computeIfAbsent(file, this::load).function(kernel);
    }

    private CudaModule load(String file) {
        byte[] image = resource(file + ".fatbin");
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment copy = arena.allocate(image.length, 16);
            copy.copyFrom(MemorySegment.ofArray(image));
            return modules.own(context.load("the kernels of " + file, copy));
        }
    }

    private static byte[] resource(String name) {
        try (InputStream in = KernelModules.class.getResourceAsStream(FOLDER + name)) {
            if (in == null) {
                throw new IllegalStateException("no kernels were built: " + name + " is missing");
            }
            return in.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Override
    public void close() {
        modules.close();
    }
}
