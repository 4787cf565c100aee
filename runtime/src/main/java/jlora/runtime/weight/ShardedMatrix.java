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
final class ShardedMatrix extends ExpandedMatrix {
    private final long rows;
    private final Sharding sharding;
    private final Tensor part;

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
        long share = sharding.share(rows);
        Tensor part = Tensor.padded(name + ".shard", Storage.Role.WEIGHT, dtype, share, cols, pad);
        // The last rank's share may end behind row N: what it brings there is overwritten by what
        // belongs below.
        long most = Math.max(share * sharding.ranks(), rows + below);
        super(
                Tensor.padded(name, Storage.Role.EXPANSION, dtype, most, cols, pad),
                part.storage(),
                bytes(part),
                false);
        this.rows = rows;
        this.sharding = sharding;
        this.part = part;
    }

    @Override
    Held held(long from, long count) {
        long first = Math.min(rows, sharding.rank() * part.rows());
        long here = Math.clamp(rows - first, 0, part.rows());
        return new HeldRows(part.rows(0, here), first, rows).part(from, count);
    }

    @Override
    Expansion expansion(List<Step> finish) {
        long stride = part.stride();
        Tensor own = part.columns(0, stride);
        Tensor whole = scratch().rows(0, sharding.ranks() * part.rows()).columns(0, stride);
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
                scratch().storage(),
                (sharding.ranks() - 1) * bytes(own),
                Expansion.Lead.LAYER,
                Step.of(
                        "gather",
                        List.of(own),
                        List.of(whole),
                        k -> sharding.collective().startGather(whole, own)),
                after);
    }
}
