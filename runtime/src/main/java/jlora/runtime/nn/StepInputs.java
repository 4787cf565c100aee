package jlora.runtime.nn;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Placement;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * What changes from one run of a plan to the next: a packed batch of T tokens in at most S
 * sequences, and the state of the dropout generator. All small, all data, so that a plan serves
 * every batch of its shape.
 *
 * @param ids i32 [1,T]
 * @param positions i32 [1,T]
 * @param targets i32 [1,T], shifted already; −100 where no loss is wanted
 * @param lossScale f32 [1,T]
 * @param cuSeqlens i32 [1,S+1]
 * @param keyMask i32 [1,T]; present in plans for batches that hide keys
 * @param adapterOfRow i32 [1,T]
 * @param rng i32 [1,3]
 * @param mixed whether tokens may use different adapters, or none: products then keep each token to
 *     its own. Without it all tokens use the model's only adapter
 * @param mostTargets at most so many tokens have a target; the loss is computed for that many
 */
public record StepInputs(
        Tensor ids,
        Tensor positions,
        Tensor targets,
        Tensor lossScale,
        Tensor cuSeqlens,
        Optional<Tensor> keyMask,
        Tensor adapterOfRow,
        Tensor rng,
        boolean mixed,
        long mostTargets) {

    /**
     * @param masked whether there is a key mask
     */
    public static StepInputs of(long tokens, long sequences, boolean mixed, boolean masked) {
        return new StepInputs(
                input("ids", DType.I32, tokens),
                input("positions", DType.I32, tokens),
                input("targets", DType.I32, tokens),
                input("loss_scale", DType.F32, tokens),
                input("cu_seqlens", DType.I32, sequences + 1),
                masked ? Optional.of(input("key_mask", DType.I32, tokens)) : Optional.empty(),
                input("adapter_of_row", DType.I32, tokens),
                input("rng", DType.I32, 3),
                mixed,
                tokens);
    }

    /** The same tensors, for batches with fewer targets than tokens. */
    public StepInputs withMostTargets(long most) {
        return new StepInputs(
                ids,
                positions,
                targets,
                lossScale,
                cuSeqlens,
                keyMask,
                adapterOfRow,
                rng,
                mixed,
                most);
    }

    private static Tensor input(String name, DType dtype, long cols) {
        return Tensor.dense(name, Storage.Role.INPUT, dtype, 1, cols);
    }

    /** T. */
    public long tokens() {
        return ids.cols();
    }

    /** S. */
    public long sequences() {
        return cuSeqlens.cols() - 1;
    }

    public List<Storage> storages() {
        Stream<Tensor> always =
                Stream.of(ids, positions, targets, lossScale, cuSeqlens, adapterOfRow, rng);
        return Stream.concat(always, keyMask.stream()).map(Tensor::storage).toList();
    }

    public MemoryArena allocate(Backend backend) {
        return Placement.allocate(backend, "batch inputs", storages());
    }
}
