package jlora.runtime.plan;

import jlora.runtime.backend.Kernels;
import jlora.runtime.tensor.Tensor;

import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * One kernel call of a plan, with everything the planner needs to know of it: what it reads, what
 * it writes, what it costs. The planner frees, recomputes and places by these declarations without
 * knowing any op.
 *
 * @param label the op's stem, such as {@code rms_norm} or {@code linear.backward_input}
 * @param flops floating-point operations; a multiply and an add are two
 * @param cheap true when repeating the step costs little beside a matrix product: recompute takes
 *     these first
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
        Objects.requireNonNull(replay);
        Objects.requireNonNull(action);
    }

    public static Step of(String label, List<Tensor> reads, List<Tensor> writes, Action action) {
        return new Step(label, reads, writes, 0, false, Optional.empty(), action);
    }

    public Step flops(long count) {
        return new Step(label, reads, writes, count, cheap, replay, action);
    }

    public Step markCheap() {
        return new Step(label, reads, writes, flops, true, replay, action);
    }

    public Step withReplay(Step other) {
        return new Step(label, reads, writes, flops, cheap, Optional.of(other), action);
    }

    /** Bytes that the step moves when every operand is read or written once. */
    public long bytes() {
        long bytes = 0;
        for (Tensor t : reads) {
            bytes += t.elements() * t.dtype().bytes();
        }
        for (Tensor t : writes) {
            bytes += t.elements() * t.dtype().bytes();
        }
        return bytes;
    }
}
