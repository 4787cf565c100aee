package jlora.runtime.weight;

import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.PublishKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * All trained parameters in flat f32 buffers: masters, gradients and AdamW's two moments, one
 * element each per parameter, so that norm, clipping and update are one pass each; and per group
 * how many updates it has had. Parameters of one adapter are contiguous (a {@link Group}), decayed
 * ones first; otherwise in the order given, which keeps the A of fused projections adjacent.
 */
public final class ParameterSet {
    /** Of the allocation that holds parameters, gradients and moments. */
    public static final String LABEL = "parameters and optimizer";

    /**
     * The parameters that are clipped and updated together.
     *
     * @param master f32 [1,P]; gradient, m and v likewise
     * @param updates f32 [1,1]: updates so far; steps that were left out are none
     * @param decayed how many elements, from the front, get weight decay
     * @param copies what must be written, after an update, for products to see the new values;
     *     those in scratch of sharded weights are not among them, they are written when the scratch
     *     is filled
     */
    public record Group(
            int adapter,
            Tensor master,
            Tensor gradient,
            Tensor m,
            Tensor v,
            Tensor updates,
            long decayed,
            List<PublishKernel.Copy> copies) {}

    private final List<Parameter> parameters;
    private final Map<Tensor, Tensor> gradients = new HashMap<>();
    private final Map<Parameter, Tensor> masters = new LinkedHashMap<>();
    private final List<Group> groups = new ArrayList<>();
    private final Map<Storage, List<PublishKernel.Copy>> expanded = new HashMap<>();
    private final List<Storage> storages;
    private final Tensor updates;
    private final Tensor gradient;
    private final long elements;

    public ParameterSet(List<Parameter> trained) {
        this.parameters =
                trained.stream()
                        .sorted(
                                Comparator.comparingInt(Parameter::adapter)
                                        .thenComparing(p -> p.decayed() ? 0 : 1))
                        .toList();
        this.elements = parameters.stream().mapToLong(p -> p.value().elements()).sum();
        long bytes = elements * DType.F32.bytes();
        Storage master = new Storage("parameters", Storage.Role.MASTER, bytes);
        Storage gradient = new Storage("gradients", Storage.Role.GRADIENT, bytes);
        Storage m = new Storage("adam.m", Storage.Role.OPTIMIZER, bytes);
        Storage v = new Storage("adam.v", Storage.Role.OPTIMIZER, bytes);
        long adapters = parameters.stream().mapToInt(Parameter::adapter).distinct().count();
        this.updates = Tensor.dense("adam.updates", Storage.Role.OPTIMIZER, DType.F32, adapters, 1);
        this.storages = List.of(master, gradient, m, v, updates.storage());
        this.gradient = flat("gradients", gradient, 0, elements);

        long offset = 0;
        long groupStart = 0;
        long decayed = 0;
        List<PublishKernel.Copy> copies = new ArrayList<>();
        for (int i = 0; i < parameters.size(); i++) {
            Parameter p = parameters.get(i);
            masters.put(p, view(p, master, offset));
            gradients.put(p.value(), view(p, gradient, offset));
            PublishKernel.Copy copy = new PublishKernel.Copy(p.value(), masters.get(p), p.scale());
            Storage to = p.value().storage();
            (to.role() == Storage.Role.EXPANSION
                            ? expanded.computeIfAbsent(to, s -> new ArrayList<>())
                            : copies)
                    .add(copy);
            offset += p.value().elements();
            decayed += p.decayed() ? p.value().elements() : 0;
            if (i + 1 == parameters.size() || parameters.get(i + 1).adapter() != p.adapter()) {
                long from = groupStart;
                long count = offset - groupStart;
                groups.add(
                        new Group(
                                p.adapter(),
                                flat("master", master, from, count),
                                flat("gradient", gradient, from, count),
                                flat("m", m, from, count),
                                flat("v", v, from, count),
                                updates.rows(groups.size(), 1),
                                decayed,
                                List.copyOf(copies)));
                copies.clear();
                groupStart = offset;
                decayed = 0;
            }
        }
    }

    private static Tensor view(Parameter p, Storage storage, long offset) {
        Tensor value = p.value();
        return new Tensor(
                p.name(), storage, DType.F32, value.rows(), value.cols(), offset, value.cols());
    }

    private static Tensor flat(String name, Storage storage, long offset, long count) {
        return new Tensor(name, storage, DType.F32, 1, count, offset, count);
    }

    /** In the order of the flat buffers. */
    public List<Parameter> parameters() {
        return parameters;
    }

    public List<Group> groups() {
        return groups;
    }

    /** f32 [G,1]: the updates that each group has had. */
    public Tensor updates() {
        return updates;
    }

    /** What must be written into the scratch of a sharded weight whenever that is filled. */
    List<PublishKernel.Copy> expanded(Storage scratch) {
        return List.copyOf(expanded.getOrDefault(scratch, List.of()));
    }

    /** Number of trained elements. */
    public long elements() {
        return elements;
    }

    /** For {@link jlora.runtime.plan.Trace#training}: each trained value with its gradient. */
    public Map<Tensor, Tensor> gradients() {
        return gradients;
    }

    /** All gradients, f32 [1,P]. */
    public Tensor gradient() {
        return gradient;
    }

    /** The f32 truth of a parameter, in its own shape. */
    public Tensor master(Parameter parameter) {
        return masters.get(parameter);
    }

    /** Masters, gradients, moments and counts of updates, in this order, as they are allocated. */
    public List<Storage> storages() {
        return storages;
    }

    public MemoryArena allocate(Backend backend) {
        return Placement.allocate(backend, LABEL, storages);
    }
}
