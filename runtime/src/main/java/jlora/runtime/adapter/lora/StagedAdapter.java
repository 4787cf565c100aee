package jlora.runtime.adapter.lora;

import jlora.runtime.Resources;
import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.kernel.PublishKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.HostValues;
import jlora.runtime.weight.Placement;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Factors that wait in the memory of a device, as f32, to take the place of those in an adapter's
 * borders: a service that answers with several adapters of one model stages each once, and switches
 * by one copy within the device.
 */
public final class StagedAdapter implements AutoCloseable {
    private final Backend backend;
    private final LoraAdapter adapter;
    private final MemoryArena memory;
    private final List<PublishKernel.Copy> copies;

    private StagedAdapter(
            Backend backend,
            LoraAdapter adapter,
            MemoryArena memory,
            List<PublishKernel.Copy> copies) {
        this.backend = backend;
        this.adapter = adapter;
        this.memory = memory;
        this.copies = List.copyOf(copies);
    }

    /**
     * Uploads an adapter for the borders of an attached one, which it need not fill: see {@link
     * LoraAdapter#switchTo}. Nothing that is in use changes.
     */
    public static StagedAdapter stage(
            Backend backend, LoraAdapter adapter, Map<String, LoraFactors> values) {
        adapter.requireOwnFactors("staged");
        adapter.requireFit(values);
        List<PublishKernel.Copy> copies = new ArrayList<>();
        Map<Tensor, float[]> contents = new LinkedHashMap<>();
        for (LoraAdapter.Module m : adapter.modules()) {
            LowRankBorder.Block border = m.border();
            LoraFactors factors = values.getOrDefault(m.module(), LoraFactors.NONE);
            int rank = (int) border.a().rows();
            Tensor a = like(m.module() + ".lora_A", border.a());
            Tensor b = like(m.module() + ".lora_B", border.b());
            contents.put(a, factors.paddedA(rank, (int) border.a().cols()));
            contents.put(b, factors.paddedB(rank, (int) border.b().rows()));
            copies.add(new PublishKernel.Copy(m.targetA(), a, 1));
            copies.add(new PublishKernel.Copy(m.targetB(), b, factors.scale()));
        }
        List<Storage> storages = contents.keySet().stream().map(Tensor::storage).toList();
        MemoryArena memory = Placement.allocate(backend, "staged adapter", storages);
        try {
            contents.forEach((to, from) -> HostValues.write(backend, to, from, 1));
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, memory);
            throw e;
        }
        return new StagedAdapter(backend, adapter, memory, copies);
    }

    private static Tensor like(String name, Tensor border) {
        return Tensor.dense(name, Storage.Role.ADAPTER, DType.F32, border.rows(), border.cols());
    }

    /** Bytes of device memory that it waits in. */
    public long bytes() {
        return memory.bytes();
    }

    /** Puts the factors into the adapter's borders; no weight is touched. */
    public void use() {
        adapter.requireUnmerged("switched");
        backend.kernels().publish().publish(copies);
    }

    /** Frees the memory; the borders keep what they hold. */
    @Override
    public void close() {
        memory.close();
    }
}
