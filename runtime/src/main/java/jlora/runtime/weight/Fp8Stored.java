package jlora.runtime.weight;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Aside;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.plan.Expansion;
import jlora.runtime.plan.Step;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;

/**
 * A frozen matrix [N,K] in FP8, which products read as it is. The one for dX wants it transposed:
 * that is done ahead of each use, into scratch. Keeping the transpose would take as much memory
 * again, to save a copy of one byte an element: 1% of a step.
 */
public final class Fp8Stored {
    private final List<Long> parts;
    private final Fp8Matrix matrix;
    private final Fp8Matrix transposed;
    private final Supplier<Aside> aside;
    private final List<Storage> resident = new ArrayList<>();

    /**
     * @param parts rows of each of the checkpoint's tensors
     * @param aside of the backend that holds it, once it does
     */
    Fp8Stored(String name, List<Long> parts, long cols, Scaling scaling, Supplier<Aside> aside) {
        this.parts = List.copyOf(parts);
        this.aside = aside;
        long rows = parts.stream().mapToLong(r -> r).sum();
        requireBlocks(name, parts, scaling);
        matrix =
                Fp8Matrix.allocate(
                        rows,
                        cols,
                        scaling,
                        (what, type, r, c) ->
                                own(
                                        Tensor.dense(
                                                name + "." + what,
                                                Storage.Role.WEIGHT,
                                                type,
                                                r,
                                                c)));
        transposed = transposed(name, rows, cols, scaling.ofTranspose());
    }

    private static void requireBlocks(String name, List<Long> parts, Scaling scaling) {
        boolean whole =
                parts.subList(0, parts.size() - 1).stream()
                        .allMatch(rows -> rows % Fp8Matrix.BLOCK == 0);
        if (scaling == Scaling.BLOCK && !whole) {
            throw JloraException.usage(
                    "fp8_scales: block shares scales among "
                            + Fp8Matrix.BLOCK
                            + " rows, but "
                            + name
                            + " is made of modules of "
                            + parts.stream().map(String::valueOf).toList()
                            + " rows; set fp8_scales: row.");
        }
    }

    private Tensor own(Tensor tensor) {
        resident.add(tensor.storage());
        return tensor;
    }

    /** Codes and scales share one scratch, so that there is one value to expand. */
    private static Fp8Matrix transposed(String name, long rows, long cols, Scaling scaling) {
        Function<Packing, Fp8Matrix> layout =
                packing ->
                        Fp8Matrix.allocate(
                                cols,
                                rows,
                                scaling,
                                (what, type, r, c) -> packing.dense(name + "." + what, type, r, c));
        long bytes = Packing.bytes(layout::apply);
        Storage scratch = new Storage(name + ".transposed", Storage.Role.EXPANSION, bytes);
        return layout.apply(new Packing(scratch, 0));
    }

    /** [N,K]. */
    public Fp8Matrix matrix() {
        return matrix;
    }

    /** [K,N], whole where a step reads it that comes after {@link #expansion}. */
    public Fp8Matrix transposed() {
        return transposed;
    }

    List<Storage> resident() {
        return resident;
    }

    Held held(long from, long count) {
        long first = 0;
        for (long rows : parts) {
            if (first == from && rows == count) {
                return new HeldFp8(matrix.rows(from, count));
            }
            first += rows;
        }
        throw new IllegalArgumentException("rows " + from + "+" + count + " are no part");
    }

    /** What transposes it. */
    Expansion expansion() {
        List<Tensor> whole = tensors(transposed);
        return new Expansion(
                transposed.codes().storage(),
                0,
                Expansion.Lead.VALUE,
                Step.of(
                        "fp8.transpose",
                        tensors(matrix),
                        whole,
                        k -> aside.get().startTranspose(transposed, matrix)),
                List.of(
                        Step.of(
                                        "fp8.wait",
                                        List.of(),
                                        whole,
                                        k -> aside.get().await(transposed.codes()))
                                .moves(0)));
    }

    private static List<Tensor> tensors(Fp8Matrix matrix) {
        List<Tensor> all = new ArrayList<>(List.of(matrix.codes()));
        Optional<Tensor> scales = matrix.scales();
        scales.ifPresent(all::add);
        return all;
    }
}
