package jlora.runtime.weight;

import jlora.runtime.plan.Expansion;
import jlora.runtime.plan.Step;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;

/**
 * A frozen matrix [N,K] of which each rank keeps a share of adjacent rows, and the scratch in which
 * it is whole. Rows have the same stride in both, pads included, so that a gather is one exchange
 * of adjacent bytes straight into the scratch: pads arrive as the zeros that they are in the share.
 */
final class ShardedMatrix implements ExpandedMatrix {
    private final long rows;
    private final Sharding sharding;
    private final Tensor resident;
    private final Tensor scratch;

    /**
     * @param below rows of the scratch behind the N
     * @param pad columns behind the K
     */
    ShardedMatrix(
            String name,
            DType dtype,
            long rows,
            long cols,
            long below,
            long pad,
            Sharding sharding) {
        this.rows = rows;
        this.sharding = sharding;
        long share = sharding.share(rows);
        resident = Tensor.padded(name + ".shard", Storage.Role.WEIGHT, dtype, share, cols, pad);
        // The last rank's share may end behind row N: what it brings there is overwritten by what
        // belongs below.
        long most = Math.max(share * sharding.ranks(), rows + below);
        scratch = Tensor.padded(name, Storage.Role.EXPANSION, dtype, most, cols, pad);
    }

    @Override
    public Tensor scratch() {
        return scratch;
    }

    @Override
    public Storage resident() {
        return resident.storage();
    }

    @Override
    public boolean inHostMemory() {
        return false;
    }

    @Override
    public long weightBytes() {
        return resident.elements() * resident.dtype().bytes();
    }

    @Override
    public Held held(long from, long count) {
        long first = Math.min(rows, sharding.rank() * resident.rows());
        long here = Math.clamp(rows - first, 0, resident.rows());
        return new HeldRows(resident.rows(0, here), first, rows).part(from, count);
    }

    @Override
    public Expansion expansion(List<Step> finish) {
        long stride = scratch.stride();
        Tensor part = resident.columns(0, stride);
        Tensor whole = scratch.rows(0, sharding.ranks() * resident.rows()).columns(0, stride);
        long partBytes = part.elements() * part.dtype().bytes();
        List<Step> after = new ArrayList<>();
        after.add(
                Step.of(
                                "gather.wait",
                                List.of(),
                                List.of(whole),
                                k -> sharding.collective().awaitGather(whole))
                        .moves(0));
        after.addAll(finish);
        return new Expansion(
                scratch.storage(),
                (sharding.ranks() - 1) * partBytes,
                Expansion.Lead.LAYER,
                Step.of(
                        "gather",
                        List.of(part),
                        List.of(whole),
                        k -> sharding.collective().startGather(whole, part)),
                after);
    }
}
