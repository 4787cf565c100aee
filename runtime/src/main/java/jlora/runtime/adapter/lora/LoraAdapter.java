package jlora.runtime.adapter.lora;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.model.Model;
import jlora.runtime.nn.Linear;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.HostValues;
import jlora.runtime.weight.Parameter;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * One LoRA adapter (arXiv 2106.09685) attached to a model: for each targeted module a block in the
 * border of the weight that holds it. Several adapters may be attached to one model; a batch then
 * says which one each token uses.
 */
public final class LoraAdapter {
    /**
     * The adapter's part of one module.
     *
     * @param module its path in the base model
     */
    public static final class Module {
        private final String module;
        private final Linear linear;
        private final int block;
        private final LoraSpec spec;
        private final int adapter;
        private final List<Parameter> parameters = new ArrayList<>(2);

        private Module(String module, Linear linear, int block, LoraSpec spec, int adapter) {
            this.module = module;
            this.linear = linear;
            this.block = block;
            this.spec = spec;
            this.adapter = adapter;
        }

        public String module() {
            return module;
        }

        public LoraSpec spec() {
            return spec;
        }

        public Linear linear() {
            return linear;
        }

        /** The views of the border that products read; after the weights are sealed. */
        public LowRankBorder.Block border() {
            return linear.weight().lowRank().orElseThrow().blocks().get(block);
        }

        /** Where A [r,in] is written for products to see it. */
        Tensor targetA() {
            return linear.weight().factorA(block);
        }

        /** Where s·B [out,r] is written. */
        Tensor targetB() {
            return linear.weight().factorB(block);
        }

        /** A [r,in]. */
        public Parameter a() {
            return parameters().get(0);
        }

        /** B [out,r]. */
        public Parameter b() {
            return parameters().get(1);
        }

        /** The rows of the (possibly fused) weight that the module consists of, [out,in]. */
        public Tensor weight() {
            return linear.weight().weight().rows(border().outFrom(), border().b().rows());
        }

        private List<Parameter> parameters() {
            if (parameters.isEmpty()) {
                LowRankBorder.Block border = border();
                parameters.add(new Parameter(module + ".lora_A", border.a(), 1, true, adapter));
                parameters.add(
                        new Parameter(
                                module + ".lora_B", border.b(), border.scale(), true, adapter));
            }
            return parameters;
        }
    }

    private final String name;
    private final int index;
    private final List<Module> modules;
    private boolean merged;

    private LoraAdapter(String name, int index, List<Module> modules) {
        this.name = name;
        this.index = index;
        this.modules = List.copyOf(modules);
    }

    /**
     * Reserves the borders of an adapter, before the model's weights are sealed.
     *
     * @param index the number that a batch's adapterOfRow names
     * @param specs the targeted modules by path
     */
    public static LoraAdapter attach(
            Model model, String name, int index, Map<String, LoraSpec> specs) {
        List<Module> modules = new ArrayList<>();
        Map<String, LoraSpec> open = new LinkedHashMap<>(specs);
        int stream = 0;
        for (Linear linear : model.linears()) {
            for (Linear.Part part : linear.parts()) {
                LoraSpec spec = open.remove(part.module());
                stream++;
                if (spec != null) {
                    int block =
                            linear.weight()
                                    .reserve(
                                            index,
                                            part.outFrom(),
                                            part.out(),
                                            spec.rank(),
                                            spec.scale(),
                                            spec.dropout(),
                                            stream + index * 0x10000);
                    modules.add(new Module(part.module(), linear, block, spec, index));
                }
            }
        }
        if (!open.isEmpty()) {
            throw new IllegalArgumentException("the model has no linear modules " + open.keySet());
        }
        return new LoraAdapter(name, index, modules);
    }

    public String name() {
        return name;
    }

    public int index() {
        return index;
    }

    public List<Module> modules() {
        return modules;
    }

    /**
     * All A, then all B of each fused weight, so that the A of q, k and v lie behind each other in
     * the flat buffers and their gradient is one product.
     */
    public List<Parameter> parameters() {
        Map<Linear, List<Module>> byLinear = new LinkedHashMap<>();
        modules.forEach(m -> byLinear.computeIfAbsent(m.linear, l -> new ArrayList<>()).add(m));
        List<Parameter> all = new ArrayList<>();
        byLinear.values()
                .forEach(
                        fused -> {
                            fused.forEach(m -> all.add(m.a()));
                            fused.forEach(m -> all.add(m.b()));
                        });
        return all;
    }

    /** True while a {@link LoraMerge} holds this adapter in the weights. */
    public boolean merged() {
        return merged;
    }

    void merged(boolean now) {
        merged = now;
    }

    /** Fails while the adapter is merged: its borders must stay what they were. */
    public void requireUnmerged(String action) {
        if (merged) {
            throw new IllegalStateException(
                    "adapter '"
                            + name
                            + "' is merged into the weights and cannot be "
                            + action
                            + "; unmerge it first");
        }
    }

    /** Fails where the borders have memory only while a plan runs. */
    void requireOwnFactors(String action) {
        if (modules.stream().anyMatch(m -> m.linear.weight().sharded())) {
            throw JloraException.usage(
                    "Adapter '"
                            + name
                            + "' cannot be "
                            + action
                            + ": its weights are sharded, no rank holds them whole; save it and"
                            + " use it without shard_base.");
        }
    }

    /** Fails where the weights themselves are whole only while a plan runs. */
    void requireWhole(String action) {
        if (modules.stream().anyMatch(m -> m.linear.weight().expands())) {
            throw JloraException.usage(
                    "Adapter '"
                            + name
                            + "' cannot be "
                            + action
                            + " in memory: its weights are shared among workers, quantised or in"
                            + " host memory; save it and merge the file into the original weights"
                            + " with jlora merge.");
        }
    }

    /**
     * Puts another adapter into this one's borders; no weight is touched. The other adapter may
     * have a lower rank, another scale, and fewer modules: what it does not have is zero. Comes
     * from the host; {@link StagedAdapter} switches in the device's own memory.
     *
     * @param values by module path; checked, all of them, before anything is written
     */
    public void switchTo(Backend backend, Map<String, LoraFactors> values) {
        requireUnmerged("switched");
        requireOwnFactors("switched");
        requireFit(values);
        for (Module m : modules) {
            LowRankBorder.Block border = m.border();
            LoraFactors factors = values.getOrDefault(m.module, LoraFactors.NONE);
            int rank = (int) border.a().rows();
            HostValues.write(
                    backend, m.targetA(), factors.paddedA(rank, (int) border.a().cols()), 1);
            HostValues.write(
                    backend,
                    m.targetB(),
                    factors.paddedB(rank, (int) border.b().rows()),
                    factors.scale());
        }
    }

    /** Fails unless each of these is for a module of this adapter, and its border holds it. */
    void requireFit(Map<String, LoraFactors> values) {
        Map<String, LoraFactors> open = new LinkedHashMap<>(values);
        for (Module m : modules) {
            LoraFactors factors = open.remove(m.module);
            if (factors != null) {
                factors.requireFit(m.module, m.border());
            }
        }
        if (!open.isEmpty()) {
            throw new IllegalArgumentException(
                    "adapter '" + name + "' has no modules " + open.keySet());
        }
    }

    /** Trained elements. */
    public long elements() {
        return parameters().stream().mapToLong(p -> p.value().elements()).sum();
    }
}
