package jlora.trainer.loop;

import jlora.runtime.Resources;
import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.adapter.lora.LoraFactors;
import jlora.runtime.backend.Backend;
import jlora.runtime.model.Model;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.HostValues;
import jlora.runtime.weight.Parameter;
import jlora.runtime.weight.ParameterSet;
import jlora.runtime.weight.Placement;
import jlora.trainer.metrics.UsedMemory;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Function;

/**
 * A blueprint in the memory of a backend: weights, trained parameters, and small results that
 * outlive a plan's run.
 */
public final class Session implements AutoCloseable {
    private final Backend backend;
    private final Blueprint blueprint;
    private final Resources owned = new Resources();
    private final List<Allocation> allocations = new ArrayList<>();
    private final OptionalLong usedBefore;
    private final Tensor loss;

    /**
     * Allocates everything that lives as long as the run; all of it is zero.
     *
     * @param loss f32 [1,1]: where every plan of this session leaves its loss
     */
    public Session(Backend backend, Blueprint blueprint, Tensor loss) {
        this.backend = backend;
        this.blueprint = blueprint;
        this.loss = loss;
        this.usedBefore = UsedMemory.bytes(backend);
        try {
            allocate(blueprint.model().weights()::allocate);
            blueprint.model().weights().allocateHost(backend).ifPresent(this::own);
            if (blueprint.parameters().elements() > 0) {
                allocate(blueprint.parameters()::allocate);
            }
            allocate(to -> Placement.allocate(to, "results", List.of(loss.storage())));
            blueprint.model().fillConstants(backend);
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, this);
            throw e;
        }
    }

    /** Closes memory, or what uses it, together with this session; the latest first. */
    public <T extends AutoCloseable> T own(T resource) {
        return owned.own(resource);
    }

    /** Allocates memory that is closed together with this session, and counts it. */
    public MemoryArena allocate(Function<Backend, MemoryArena> allocation) {
        OptionalLong before = UsedMemory.bytes(backend);
        MemoryArena arena = own(allocation.apply(backend));
        count(arena.label(), arena.bytes(), before);
        return arena;
    }

    /**
     * Counts memory that was allocated elsewhere.
     *
     * @param before {@link UsedMemory#bytes} before it was
     */
    public void count(String label, long bytes, OptionalLong before) {
        OptionalLong now = UsedMemory.bytes(backend);
        boolean known = before.isPresent() && now.isPresent();
        allocations.add(
                new Allocation(
                        label,
                        bytes,
                        known
                                ? OptionalLong.of(now.getAsLong() - before.getAsLong())
                                : OptionalLong.empty()));
    }

    /** What was allocated for this session so far, in that order. */
    public List<Allocation> allocations() {
        return List.copyOf(allocations);
    }

    /** Memory in use before this session allocated anything; empty where nobody counts. */
    public OptionalLong usedBefore() {
        return usedBefore;
    }

    public Backend backend() {
        return backend;
    }

    public Blueprint blueprint() {
        return blueprint;
    }

    public Model model() {
        return blueprint.model();
    }

    /** Where every plan of this session leaves its loss. */
    public Tensor loss() {
        return loss;
    }

    /** Reads a result tensor back. */
    public float[] read(Tensor tensor) {
        float[] values = new float[Math.toIntExact(tensor.elements())];
        backend.download(MemorySegment.ofArray(values), tensor);
        return values;
    }

    /** Copies loaded base weights into the masters, for full fine-tuning. */
    public void masterWeights() {
        ParameterSet parameters = blueprint.parameters();
        for (Parameter p : parameters.parameters()) {
            backend.upload(
                    parameters.master(p),
                    MemorySegment.ofArray(HostValues.read(backend, p.value())));
        }
    }

    /**
     * Sets an adapter's values. Where it is trained they become the masters, and the borders are
     * written from those.
     */
    public void setAdapter(LoraAdapter adapter, AdapterValues values) {
        Optional<ParameterSet.Group> trained =
                blueprint.parameters().groups().stream()
                        .filter(group -> group.adapter() == adapter.index())
                        .findFirst();
        if (trained.isPresent()) {
            adapter.requireUnmerged("switched");
            for (LoraAdapter.Module module : adapter.modules()) {
                AdapterValues.Pair pair = values.modules().get(module.module());
                setMaster(module.a(), pair.a());
                setMaster(module.b(), pair.b());
            }
            backend.kernels().publish().publish(trained.get().copies());
            return;
        }
        Map<String, LoraFactors> factors = new HashMap<>();
        for (LoraAdapter.Module module : adapter.modules()) {
            AdapterValues.Pair pair = values.modules().get(module.module());
            factors.put(
                    module.module(),
                    new LoraFactors(
                            module.spec().rank(), module.spec().scale(), pair.a(), pair.b()));
        }
        adapter.switchTo(backend, factors);
    }

    private void setMaster(Parameter parameter, float[] values) {
        HostValues.write(backend, blueprint.parameters().master(parameter), values, 1);
    }

    /** An adapter's values as they are now: the f32 masters; it must be trained. */
    public AdapterValues adapter(LoraAdapter adapter) {
        Map<String, AdapterValues.Pair> modules = new HashMap<>();
        for (LoraAdapter.Module module : adapter.modules()) {
            modules.put(
                    module.module(),
                    new AdapterValues.Pair(master(module.a()), master(module.b())));
        }
        return new AdapterValues(modules);
    }

    private float[] master(Parameter parameter) {
        Tensor master = blueprint.parameters().master(parameter);
        if (master == null) {
            throw new IllegalStateException(parameter.name() + " is not trained");
        }
        return read(master);
    }

    @Override
    public void close() {
        owned.close();
    }
}
