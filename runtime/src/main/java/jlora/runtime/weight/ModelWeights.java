package jlora.runtime.weight;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
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
    private final List<Tensor> plain = new ArrayList<>();
    private final List<Supplier<CheckpointTensor>> declared = new ArrayList<>();
    private List<CheckpointTensor> checkpoint;
    private Optional<Sharding> sharding = Optional.empty();

    public ModelWeights(DType dtype) {
        this.dtype = dtype;
    }

    /** The type that weights are stored in. */
    public DType dtype() {
        return dtype;
    }

    /** A matrix that adapters may border. */
    public BorderedWeight bordered(String name, long rows, long cols) {
        BorderedWeight weight = new BorderedWeight(name, dtype, rows, cols);
        bordered.add(weight);
        return weight;
    }

    /** A matrix without borders, drawn from a normal distribution, under its checkpoint name. */
    public BorderedWeight matrix(String name, long rows, long cols) {
        BorderedWeight weight = bordered(name, rows, cols);
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
            Supplier<HeldRows> target,
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

    /** Fixes the layout; borders can no longer be reserved. */
    public void seal() {
        bordered.forEach(w -> w.seal(sharding));
        checkpoint = declared.stream().map(Supplier::get).toList();
    }

    /**
     * Sharded weights have their borders in scratch: says that these parameters' masters are what
     * they are written from.
     */
    public void bordersFrom(ParameterSet parameters) {
        bordered.forEach(w -> w.bordersFrom(parameters.expanded(w.weight().storage())));
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
        if (sharding.isPresent()) {
            throw JloraException.usage(
                    "Sharded weights are frozen, they cannot be trained; leave shard_base out.");
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

    /** Bytes of the base weights themselves. */
    public long weightBytes() {
        return allocatedBytes() - borderBytes();
    }

    /** Of these, bytes of matrices that ranks share; 0 where there is no sharding. */
    public long sharedBytes() {
        return sharding.isEmpty()
                ? 0
                : bordered.stream().mapToLong(BorderedWeight::weightBytes).sum();
    }

    /** Bytes of borders and row padding. */
    public long borderBytes() {
        return bordered.stream().mapToLong(BorderedWeight::borderBytes).sum();
    }

    /** Bytes of the one allocation that holds everything. */
    public long allocatedBytes() {
        return Placement.bytes(storages());
    }

    private List<Storage> storages() {
        List<Storage> all = new ArrayList<>();
        bordered.forEach(w -> all.add(w.resident().storage()));
        plain.forEach(t -> all.add(t.storage()));
        return all;
    }

    /** Allocates and places everything; all bytes are zero. */
    public MemoryArena allocate(Backend backend) {
        return Placement.allocate(backend, LABEL, storages());
    }
}
