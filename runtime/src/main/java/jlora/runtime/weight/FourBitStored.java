package jlora.runtime.weight;

import jlora.runtime.backend.Aside;
import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.plan.Expansion;
import jlora.runtime.plan.Step;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;

/**
 * A frozen matrix in four bits, and the scratch that it is expanded into. In memory of the host it
 * crosses to the device in four bits too: the scratch then has room for its codes behind the rows.
 */
final class FourBitStored extends ExpandedMatrix {
    private final FourBitLayout layout;
    private final Supplier<Aside> aside;
    private final long codesFrom;
    private final Tensor rows;

    /**
     * @param below rows of the scratch behind the N
     * @param pad columns behind the K
     * @param aside of the backend that holds it, once it does
     */
    FourBitStored(
            String name,
            DType dtype,
            FourBitLayout layout,
            long below,
            long pad,
            boolean inHostMemory,
            Supplier<Aside> aside) {
        long n = layout.rows().stream().mapToLong(r -> r).sum();
        long stride = layout.cols() + pad;
        long bytes = layout.bytes();
        long codesFrom = MemoryArena.align((n + below) * stride * dtype.bytes());
        Storage whole =
                new Storage(name, Storage.Role.EXPANSION, codesFrom + (inHostMemory ? bytes : 0));
        super(
                new Tensor(name, whole, dtype, n + below, layout.cols(), 0, stride),
                new Storage(name + ".codes", Storage.Role.WEIGHT, bytes),
                bytes,
                inHostMemory);
        this.layout = layout;
        this.aside = aside;
        this.codesFrom = codesFrom;
        this.rows = scratch().rows(0, n);
    }

    @Override
    Held held(long from, long count) {
        long first = 0;
        for (FourBitMatrix part : layout.in(resident(), 0)) {
            if (first == from && part.rows() == count) {
                return new HeldCodes(part, inHostMemory());
            }
            first += part.rows();
        }
        throw new IllegalArgumentException(
                "rows " + from + "+" + count + " of " + scratch().name() + " are no part of it");
    }

    @Override
    Expansion expansion(List<Step> finish) {
        return inHostMemory() ? fromHost(finish) : fromDevice(finish);
    }

    private Expansion fromDevice(List<Step> finish) {
        List<FourBitMatrix> parts = layout.in(resident(), 0);
        List<Step> after = new ArrayList<>(List.of(await("four_bit.wait", rows)));
        finish(after, finish);
        return new Expansion(
                scratch().storage(),
                0,
                Expansion.Lead.VALUE,
                Step.of(
                        "four_bit.dequantize",
                        List.of(bytes(resident(), 0)),
                        List.of(rows),
                        k -> aside.get().startDequantize(rows, parts)),
                after);
    }

    private Expansion fromHost(List<Step> finish) {
        List<FourBitMatrix> parts = layout.in(scratch().storage(), codesFrom);
        Tensor codes = bytes(scratch().storage(), codesFrom);
        Tensor source = bytes(resident(), 0);
        List<Step> after = new ArrayList<>();
        after.add(await("prefetch.wait", codes));
        after.add(
                Step.of(
                        "four_bit.dequantize",
                        List.of(codes),
                        List.of(rows),
                        k -> k.fourBit().dequantize(rows, parts)));
        finish(after, finish);
        return new Expansion(
                scratch().storage(),
                resident().bytes(),
                Expansion.Lead.LAYER,
                Step.of(
                        "prefetch",
                        List.of(source),
                        List.of(codes),
                        k -> aside.get().startCopy(codes, source)),
                after);
    }

    /** Codes say nothing of the columns behind W, of which adapters write their own rows alone. */
    private void finish(List<Step> after, List<Step> finish) {
        long pad = scratch().stride() - scratch().cols();
        if (pad > 0) {
            Tensor pads = rows.columns(scratch().cols(), pad);
            after.add(
                    Step.of(
                            "random_fill.constant",
                            List.of(),
                            List.of(pads),
                            k -> k.randomFill().constant(pads, 0)));
        }
        after.addAll(finish);
    }

    private Step await(String label, Tensor what) {
        return Step.of(label, List.of(), List.of(what), k -> aside.get().await(what)).moves(0);
    }

    private Tensor bytes(Storage storage, long from) {
        return new Tensor(storage.name(), storage, DType.U8, 1, weightBytes(), from, weightBytes());
    }
}
