package jlora.trainer.job;

import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.adapter.lora.LoraConfig;
import jlora.runtime.adapter.lora.LoraInit;
import jlora.runtime.io.PeftFolder;
import jlora.runtime.io.SafetensorsEntry;
import jlora.runtime.io.TensorCopy;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Parameter;
import jlora.trainer.loop.AdapterValues;

import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/** Adapter values from and to PEFT folders, and where a new adapter starts. */
public final class SavedAdapter {
    private SavedAdapter() {}

    /** The values of an adapter folder. */
    public static AdapterValues values(PeftFolder peft) {
        Map<String, AdapterValues.Pair> modules = new HashMap<>();
        peft.modules()
                .forEach(
                        (module, stored) ->
                                modules.put(
                                        module,
                                        new AdapterValues.Pair(
                                                floats(stored.a()), floats(stored.b()))));
        return new AdapterValues(modules);
    }

    private static float[] floats(SafetensorsEntry entry) {
        Tensor tensor =
                Tensor.dense(
                        entry.name(), Storage.Role.ADAPTER, DType.F32, entry.rows(), entry.cols());
        try (MemoryArena arena =
                MemoryArena.host(entry.name(), MemoryArena.align(tensor.storage().bytes()))) {
            arena.place(tensor.storage(), 0);
            TensorCopy.copy(entry, tensor);
            return tensor.segment().toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    /** A random, B zero. */
    static AdapterValues initial(LoraAdapter adapter, LoraInit init, long seed) {
        Map<String, AdapterValues.Pair> modules = new HashMap<>();
        for (LoraAdapter.Module m : adapter.modules()) {
            int rank = m.spec().rank();
            int in = Math.toIntExact(m.a().value().cols());
            int out = Math.toIntExact(m.b().value().rows());
            modules.put(
                    m.module(),
                    new AdapterValues.Pair(
                            init.a(seed, m.module(), rank, in), new float[rank * out]));
        }
        return new AdapterValues(modules);
    }

    /**
     * Writes a PEFT folder.
     *
     * @param values where the f32 value of a parameter lies in host memory
     */
    public static void write(
            Path folder,
            LoraConfig config,
            LoraAdapter adapter,
            Function<Parameter, Tensor> values,
            List<String> linearModules,
            PeftFolder.Base base) {
        List<PeftFolder.Trained> trained =
                adapter.modules().stream()
                        .map(
                                m ->
                                        new PeftFolder.Trained(
                                                m.module(),
                                                values.apply(m.a()),
                                                values.apply(m.b())))
                        .toList();
        PeftFolder.write(folder, config, trained, linearModules, base);
    }
}
