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
final class HostMatrix extends ExpandedMatrix {
    private final Supplier<Aside> aside;
    private final Tensor host;

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
        Tensor resident =
                Tensor.padded(name + ".host", Storage.Role.WEIGHT, dtype, rows, cols, pad);
        super(
                Tensor.padded(name, Storage.Role.EXPANSION, dtype, rows + below, cols, pad),
                resident.storage(),
                bytes(resident),
                true);
        this.aside = aside;
        this.host = resident;
    }

    @Override
    Held held(long from, long count) {
        return HeldRows.all(host.rows(from, count));
    }

    @Override
    Expansion expansion(List<Step> finish) {
        long stride = host.stride();
        Tensor from = host.columns(0, stride);
        Tensor to = scratch().rows(0, host.rows()).columns(0, stride);
        List<Step> after = new ArrayList<>();
        after.add(
                Step.of("prefetch.wait", List.of(), List.of(to), k -> aside.get().await(to))
                        .moves(0));
        after.addAll(finish);
        return new Expansion(
                scratch().storage(),
                resident().bytes(),
                Expansion.Lead.LAYER,
                Step.of(
                        "prefetch",
                        List.of(from),
                        List.of(to),
                        k -> aside.get().startCopy(to, from)),
                after);
    }
}
