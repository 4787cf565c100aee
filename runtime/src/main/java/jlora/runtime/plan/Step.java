package jlora.runtime.plan;

import jlora.runtime.backend.Kernels;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.stream.Stream;

/**
 * One kernel call of a plan, with everything the planner needs to know of it: what it reads, what
 * it writes, what it costs. The planner frees, recomputes and places by these declarations without
 * knowing any op.
 *
 * @param label the op's stem, such as {@code rms_norm} or {@code linear.backward_input}
 * @param flops floating-point operations; a multiply and an add are two
 * @param cheap true when repeating the step costs little beside a matrix product: recompute takes
 *     these first
 * @param moved bytes that the call moves, where it is not every operand once
 * @param replay another way to produce some of the outputs again from fewer inputs, used only by
 *     recompute
 * @param action the call itself
 */
public record Step(
        String label,
        List<Tensor> reads,
        List<Tensor> writes,
        long flops,
        boolean cheap,
        OptionalLong moved,
        Optional<Step> replay,
        Action action) {

    /** Starts the kernel on the backend whose memory the step's tensors are placed in. */
    @FunctionalInterface
    public interface Action {
        void run(Kernels kernels);
    }

    public Step {
        Objects.requireNonNull(label);
        reads = List.copyOf(reads);
        writes = List.copyOf(writes);
        Objects.requireNonNull(moved);
        Objects.requireNonNull(replay);
        Objects.requireNonNull(action);
    }

    public static Step of(String label, List<Tensor> reads, List<Tensor> writes, Action action) {
        return new Step(
                label, reads, writes, 0, false, OptionalLong.empty(), Optional.empty(), action);
    }

    public Step flops(long count) {
        return new Step(label, reads, writes, count, cheap, moved, replay, action);
    }

    public Step markCheap() {
        return new Step(label, reads, writes, flops, true, moved, replay, action);
    }

    public Step withReplay(Step other) {
        return new Step(label, reads, writes, flops, cheap, moved, Optional.of(other), action);
    }

    /** For calls that touch a part of an operand: a few rows of a table. */
    public Step moves(long bytes) {
        return new Step(label, reads, writes, flops, cheap, OptionalLong.of(bytes), replay, action);
    }

    /** Bytes that the step moves: every operand read or written once, unless it says otherwise. */
    public long bytes() {
        return moved.orElseGet(
                () -> Stream.concat(reads.stream(), writes.stream()).mapToLong(Step::bytes).sum());
    }

    /**
     * Bytes of memory that the step touches: what a cache must hold for a second run to find
     * everything there. A tensor that is read and written counts once.
     */
    public long operandBytes() {
        Set<View> seen = new HashSet<>();
        Map<Storage, Long> touched = new HashMap<>();
        Stream.concat(reads.stream(), writes.stream())
                .filter(t -> seen.add(View.of(t)))
                .forEach(t -> touched.merge(t.storage(), bytes(t), Long::sum));
        // Views of one storage may overlap; together they are no more than all of it.
        long bytes =
                touched.entrySet().stream()
                        .mapToLong(e -> Math.min(e.getValue(), e.getKey().bytes()))
                        .sum();
        return Math.min(bytes, bytes());
    }

    private static long bytes(Tensor t) {
        return t.elements() * t.dtype().bytes();
    }

    /** Which elements of a storage a tensor is. */
    private record View(Storage storage, long offset, long rows, long cols, long stride) {
        static View of(Tensor t) {
            return new View(t.storage(), t.offset(), t.rows(), t.cols(), t.stride());
        }
    }
}
