package jlora.runtime.weight;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Aside;
import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Supplier;

/**
 * All base weights of a model: declared by its architecture, sealed once the adapters' borders are
 * known, allocated in one arena, filled from a checkpoint or at random. Sizes are known from {@link
 * #seal} on, without any memory.
 */
public final class ModelWeights {
    /** Of the allocation that holds all weights with their borders. */
    public static final String LABEL = "weights";

    private final DType dtype;
    private final List<BorderedWeight> bordered = new ArrayList<>();
    private final Set<BorderedWeight> layers = new HashSet<>();
    private final List<Tensor> plain = new ArrayList<>();
    private final List<Supplier<CheckpointTensor>> declared = new ArrayList<>();
    private List<CheckpointTensor> checkpoint;
    private Optional<Sharding> sharding = Optional.empty();
    private FrozenStorage storage = FrozenStorage.plain();
    private Aside aside;

    public ModelWeights(DType dtype) {
        this.dtype = dtype;
    }

    /** The type that weights are stored in. */
    public DType dtype() {
        return dtype;
    }

    /**
     * A matrix of a layer, which adapters may border.
     *
     * @param parts rows of each tensor of the checkpoint that it is made of
     */
    public BorderedWeight bordered(String name, List<Long> parts, long cols) {
        BorderedWeight weight = new BorderedWeight(name, dtype, parts, cols);
        bordered.add(weight);
        layers.add(weight);
        return weight;
    }

    /** A matrix of no layer, drawn from a normal distribution, under its checkpoint name. */
    public BorderedWeight matrix(String name, long rows, long cols) {
        BorderedWeight weight = new BorderedWeight(name, dtype, List.of(rows), cols);
        bordered.add(weight);
        inCheckpoint(name, () -> weight.held(0, rows), false, CheckpointTensor.Init.NORMAL);
        return weight;
    }

    /** A matrix or vector without borders: embeddings, norms, biases. */
    public Tensor plain(String name, long rows, long cols) {
        Tensor tensor = Tensor.dense(name, Storage.Role.WEIGHT, dtype, rows, cols);
        plain.add(tensor);
        return tensor;
    }

    /** A matrix or vector without borders that the checkpoint holds under the same name. */
    public Tensor plain(String name, long rows, long cols, CheckpointTensor.Init init) {
        Tensor tensor = plain(name, rows, cols);
        inCheckpoint(name, () -> HeldRows.all(tensor), false, init);
        return tensor;
    }

    /** A small table that the architecture computes, f32; not part of the checkpoint. */
    public Tensor constant(String name, long cols) {
        Tensor tensor = Tensor.dense(name, Storage.Role.CONSTANT, DType.F32, 1, cols);
        plain.add(tensor);
        return tensor;
    }

    /** Says where a checkpoint's tensor belongs; the view is asked for after sealing. */
    public void inCheckpoint(
            String name,
            Supplier<? extends Held> target,
            boolean transposed,
            CheckpointTensor.Init init) {
        declared.add(() -> new CheckpointTensor(name, target.get(), transposed, init));
    }

    /** Keeps only this rank's share of each matrix in memory; before {@link #seal}. */
    public void shard(Sharding among) {
        if (checkpoint != null) {
            throw new IllegalStateException("weights are sharded before they are sealed");
        }
        sharding = Optional.of(among);
    }

    /** How ranks share these weights; empty when this process holds them whole. */
    public Optional<Sharding> sharding() {
        return sharding;
    }

    /** Says how the matrices of layers stay in memory; before {@link #seal}. */
    public void store(FrozenStorage as) {
        if (checkpoint != null) {
            throw new IllegalStateException(
                    "how weights are stored is said before they are sealed");
        }
        storage = as;
    }

    /** How the matrices of layers stay in memory. */
    public FrozenStorage storage() {
        return storage;
    }

    private boolean plainStorage() {
        return storage.equals(FrozenStorage.plain());
    }

    /**
     * Fixes the layout; borders can no longer be reserved. What cannot be stored as was said is
     * exit code 2.
     */
    public void seal() {
        if (storage.inHostMemory() && storage.form() instanceof FrozenStorage.Form.Fp8) {
            throw JloraException.usage(
                    "offload: host keeps plain or four-bit weights; leave it or weight_dtype out.");
        }
        if (sharding.isPresent() && !plainStorage()) {
            throw JloraException.usage(
                    "shard_base keeps shares of plain weights; leave it out, or load_in_4bit,"
                            + " weight_dtype and offload.");
        }
        for (BorderedWeight w : bordered) {
            w.seal(layers.contains(w) ? storage : FrozenStorage.plain(), sharding, this::aside);
        }
        checkpoint = declared.stream().map(Supplier::get).toList();
    }

    private Aside aside() {
        if (aside == null) {
            throw new IllegalStateException("weights have no memory yet");
        }
        return aside;
    }

    /**
     * Weights that are expanded have their borders in scratch: says that these parameters' masters
     * are what they are written from.
     */
    public void bordersFrom(ParameterSet parameters) {
        bordered.stream()
                .filter(w -> w.fp8().isEmpty())
                .forEach(w -> w.bordersFrom(parameters.expanded(w.weight().storage())));
    }

    /** Every tensor that the checkpoint must have, in the order of the model. */
    public List<CheckpointTensor> checkpoint() {
        if (checkpoint == null) {
            throw new IllegalStateException("weights are not sealed");
        }
        return checkpoint;
    }

    /**
     * All weights as trainable parameters, for full fine-tuning; fused ones as a whole. Matrices
     * are decayed, norms and biases not, as in Transformers.
     */
    public List<Parameter> parameters() {
        if (sharding.isPresent() || !plainStorage()) {
            throw JloraException.usage(
                    "Weights that are shared among workers, quantised or kept in host memory are"
                            + " frozen, they cannot be trained; leave shard_base, load_in_4bit,"
                            + " weight_dtype and offload out, or train an adapter.");
        }
        List<Tensor> values = new ArrayList<>();
        bordered.forEach(w -> values.add(w.weight()));
        plain.stream().filter(t -> t.storage().role() == Storage.Role.WEIGHT).forEach(values::add);
        return values.stream().map(v -> new Parameter(v.name(), v, 1, v.rows() > 1, 0)).toList();
    }

    /** Number of parameters of the base model, borders excluded. */
    public long elements() {
        return checkpoint().stream().mapToLong(CheckpointTensor::elements).sum();
    }

    /** Bytes of the base weights themselves in the memory of the device. */
    public long weightBytes() {
        return allocatedBytes() - borderBytes();
    }

    /**
     * Of these, bytes of matrices that are kept in a smaller form, a share or fewer bits; 0 where
     * all lies in memory as products read it.
     */
    public long reducedBytes() {
        return bordered.stream()
                .filter(w -> w.expands() && w.hostStorages().isEmpty())
                .mapToLong(BorderedWeight::weightBytes)
                .sum();
    }

    /** Bytes of borders and row padding. */
    public long borderBytes() {
        return bordered.stream().mapToLong(BorderedWeight::borderBytes).sum();
    }

    /** Bytes of the one allocation that holds everything that stays on the device. */
    public long allocatedBytes() {
        return Placement.bytes(storages());
    }

    /** Bytes of page-locked memory of the host. */
    public long hostBytes() {
        return Placement.bytes(hostStorages());
    }

    private List<Storage> storages() {
        List<Storage> all = new ArrayList<>();
        bordered.forEach(w -> all.addAll(w.storages()));
        plain.forEach(t -> all.add(t.storage()));
        return all;
    }

    private List<Storage> hostStorages() {
        return bordered.stream().flatMap(w -> w.hostStorages().stream()).toList();
    }

    /** Allocates and places what stays on the device; all bytes are zero. */
    public MemoryArena allocate(Backend backend) {
        aside = backend.aside();
        return Placement.allocate(backend, LABEL, storages());
    }

    /** The same for what stays in memory of the host. */
    public Optional<MemoryArena> allocateHost(Backend backend) {
        return hostBytes() == 0
                ? Optional.empty()
                : Optional.of(
                        Placement.place(
                                backend.allocateHost("weights in host memory", hostBytes()),
                                hostStorages()));
    }
}
