package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaFunction;
import jlora.cu.driver.CudaModule;
import jlora.runtime.Resources;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;

/** The compiled kernel files, each loaded when one of its kernels is first asked for. */
final class KernelModules implements AutoCloseable {
    private final CudaContext context;
    private final KernelImages images;
    private final Resources owned = new Resources();
    private final Map<String, CudaModule> loaded = new HashMap<>();

    KernelModules(CudaContext context, KernelImages images) {
        this.context = context;
        this.images = images;
    }

    CudaFunction function(String kernel) {
        return loaded.computeIfAbsent(images.fileOf(kernel), this::load).function(kernel);
    }

    private CudaModule load(String file) {
        byte[] image = images.image(file);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment copy = arena.allocate(image.length, 16);
            copy.copyFrom(MemorySegment.ofArray(image));
            return owned.own(context.load("the kernels of " + file, copy));
        }
    }

    @Override
    public void close() {
        owned.close();
    }
}
