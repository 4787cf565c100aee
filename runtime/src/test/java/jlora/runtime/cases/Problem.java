package jlora.runtime.cases;

import jlora.runtime.tensor.DType;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The tensors and kernel calls of one case, built by it: declare tensors, then passes in the order
 * in which they run, then what is the gradient of what. Every tensor lies between guard zones; what
 * is not filled is poisoned.
 */
public final class Problem<K> {
    private final String name;
    private final List<Slot> slots = new ArrayList<>();
    private final List<Long> bufferBytes = new ArrayList<>();
    private final List<Pass<K>> passes = new ArrayList<>();
    private final List<Cotangent> cotangents = new ArrayList<>();
    private final List<Gradient> gradients = new ArrayList<>();
    private Pass<K> objective;

    /**
     * The loss is the sum of output · dOutput over all of these; without a dOutput, of the output
     * itself.
     */
    record Cotangent(Slot output, Optional<Slot> dOutput) {}

    /**
     * dInput is scale times the gradient of the loss with respect to input, plus what it held
     * before.
     */
    record Gradient(Slot input, Slot dInput, double scale) {}

    /** The name seeds the values. */
    public Problem(String name) {
        this.name = name;
    }

    /** A tensor with values. */
    public Slot input(String name, DType dtype, long rows, long cols, Layout layout, Fill fill) {
        return declare(name, dtype, rows, cols, layout, Optional.of(fill), Optional.empty());
    }

    /** One row of integers. */
    public Slot ints(String name, int... values) {
        return input(name, DType.I32, 1, values.length, Layout.ODD, Fill.row(values));
    }

    /** A tensor that a pass overwrites. */
    public Slot output(
            String name, DType dtype, long rows, long cols, Layout layout, Tolerance tolerance) {
        return declare(name, dtype, rows, cols, layout, Optional.empty(), Optional.of(tolerance));
    }

    /** A tensor with values that a pass changes. */
    public Slot updated(
            String name,
            DType dtype,
            long rows,
            long cols,
            Layout layout,
            Fill fill,
            Tolerance tolerance) {
        return declare(name, dtype, rows, cols, layout, Optional.of(fill), Optional.of(tolerance));
    }

    /** The target of a gradient: filled when it is added to, poisoned when it is overwritten. */
    public Slot target(
            String name,
            DType dtype,
            long rows,
            long cols,
            Layout layout,
            boolean accumulate,
            Tolerance tolerance) {
        return accumulate
                ? updated(name, dtype, rows, cols, layout, Fill.normal(1), tolerance)
                : output(name, dtype, rows, cols, layout, tolerance);
    }

    /** A tensor that a kernel may use as it likes. */
    public Slot scratch(String name, DType dtype, long rows, long cols, Layout layout) {
        return declare(name, dtype, rows, cols, layout, Optional.empty(), Optional.empty());
    }

    /** Columns of the rows that another tensor lies in, its pad columns included. */
    public Slot columns(
            String name,
            Slot of,
            long from,
            long count,
            Optional<Fill> fill,
            Optional<Tolerance> tolerance) {
        return block(name, of, 0, of.rows(), from, count, fill, tolerance);
    }

    /** A block of the storage that another tensor lies in. */
    public Slot block(
            String name,
            Slot of,
            long row,
            long rows,
            long col,
            long cols,
            Optional<Fill> fill,
            Optional<Tolerance> tolerance) {
        long offset = of.offset() + row * of.stride() + col;
        Slot slot =
                new Slot(
                        name,
                        of.buffer(),
                        of.dtype(),
                        rows,
                        cols,
                        offset,
                        of.stride(),
                        fill,
                        tolerance);
        slots.add(slot);
        return slot;
    }

    /** A dense matrix that lies in a row of another tensor, {@code from} elements into it. */
    public Slot matrix(String name, Slot of, long from, long rows, long cols) {
        Slot slot =
                new Slot(
                        name,
                        of.buffer(),
                        of.dtype(),
                        rows,
                        cols,
                        of.offset() + from,
                        cols,
                        Optional.empty(),
                        Optional.empty());
        slots.add(slot);
        return slot;
    }

    private Slot declare(
            String name,
            DType dtype,
            long rows,
            long cols,
            Layout layout,
            Optional<Fill> fill,
            Optional<Tolerance> tolerance) {
        long stride = cols + layout.pad();
        long elements = 2L * layout.guard() + rows * stride;
        bufferBytes.add((elements * dtype.bytes() + 3) / 4 * 4);
        Slot slot =
                new Slot(
                        name,
                        bufferBytes.size() - 1,
                        dtype,
                        rows,
                        cols,
                        layout.guard(),
                        stride,
                        fill,
                        tolerance);
        slots.add(slot);
        return slot;
    }

    /**
     * Appends a pass; the first one is the objective of finite differences unless another one is
     * named.
     */
    public Pass<K> pass(
            String name, double flops, List<Slot> reads, List<Slot> writes, Pass.Call<K> call) {
        return pass(name, flops, reads, writes, List.of(), call);
    }

    /** Appends a pass with scratch tensors. */
    public Pass<K> pass(
            String name,
            double flops,
            List<Slot> reads,
            List<Slot> writes,
            List<Slot> scratch,
            Pass.Call<K> call) {
        for (Slot slot : writes) {
            if (slot.tolerance().isEmpty()) {
                throw new IllegalArgumentException(
                        slot.name() + " is written, so needs a tolerance");
            }
        }
        Pass<K> pass = new Pass<>(name, flops, reads, writes, scratch, call);
        passes.add(pass);
        if (objective == null) {
            objective = pass;
        }
        return pass;
    }

    /** Names the pass that the gradients are of. */
    public void objective(Pass<K> pass) {
        objective = pass;
    }

    /** dOutput is the gradient that reaches output. */
    public void cotangent(Slot output, Slot dOutput) {
        cotangents.add(new Cotangent(output, Optional.of(dOutput)));
    }

    /** The output is the loss. */
    public void loss(Slot output) {
        cotangents.add(new Cotangent(output, Optional.empty()));
    }

    /** dInput receives the gradient with respect to input. */
    public void gradient(Slot input, Slot dInput) {
        gradient(input, dInput, 1);
    }

    /** dInput receives scale times the gradient with respect to input. */
    public void gradient(Slot input, Slot dInput, double scale) {
        gradients.add(new Gradient(input, dInput, scale));
    }

    public String name() {
        return name;
    }

    public List<Pass<K>> passes() {
        return List.copyOf(passes);
    }

    List<Slot> slots() {
        return List.copyOf(slots);
    }

    List<Long> bufferBytes() {
        return List.copyOf(bufferBytes);
    }

    Pass<K> objective() {
        return objective;
    }

    List<Cotangent> cotangents() {
        return List.copyOf(cotangents);
    }

    List<Gradient> gradients() {
        return List.copyOf(gradients);
    }
}
