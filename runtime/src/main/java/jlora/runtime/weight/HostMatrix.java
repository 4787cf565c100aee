package jlora.runtime.weight;

import jlora.runtime.backend.Aside;
import jlora.runtime.plan.Expansion;
import jlora.runtime.plan.Step;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/**
 * A frozen matrix that stays in memory of the host, and the scratch on the device that it is copied
 * into ahead of use. Rows have the same stride in both, so that a copy is one run of bytes.
 */
final class HostMatrix implements ExpandedMatrix {
    private final Supplier<Aside> aside;
    private final Tensor host;
    private final Tensor scratch;

    /**
     * @param below rows of the scratch behind the N
     * @param pad columns behind the K
     * @param aside of the backend that uses it, once there is one
     */
    HostMatrix(
            String name,
            DType dtype,
            long rows,
            long cols,
            long below,
            long pad,
            Supplier<Aside> aside) {
        this.aside = aside;
        host = Tensor.padded(name + ".host", Storage.Role.WEIGHT, dtype, rows, cols, pad);
        scratch = Tensor.padded(name, Storage.Role.EXPANSION, dtype, rows + below, cols, pad);
    }

    @Override
    public Tensor scratch() {
        return scratch;
    }

    @Override
    public Storage resident() {
        return host.storage();
    }

    @Override
    public boolean inHostMemory() {
        return true;
    }

    @Override
    public long weightBytes() {
        return host.elements() * host.dtype().bytes();
    }

    @Override
    public Held held(long from, long count) {
        return HeldRows.all(host.rows(from, count));
    }

    @Override
    public Expansion expansion(List<Step> finish) {
        long stride = scratch.stride();
        Tensor from = host.columns(0, stride);
        Tensor to = scratch.rows(0, host.rows()).columns(0, stride);
        List<Step> after = new ArrayList<>();
        after.add(
                Step.of("prefetch.wait", List.of(), List.of(to), k -> aside.get().await(to))
                        .moves(0));
        after.addAll(finish);
        return new Expansion(
                scratch.storage(),
                host.storage().bytes(),
                Expansion.Lead.LAYER,
                Step.of(
                        "prefetch",
                        List.of(from),
                        List.of(to),
                        k -> aside.get().startCopy(to, from)),
                after);
    }
}
