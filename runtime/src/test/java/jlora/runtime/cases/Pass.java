package jlora.runtime.cases;

import jlora.runtime.tensor.Tensor;

import java.util.List;
import java.util.function.Function;

/**
 * One call of a kernel.
 *
 * @param flops floating-point operations, by the convention of two for a multiply-add
 * @param reads the tensors it reads
 * @param writes the tensors it writes, each element; those that hold values before are read too
 * @param scratch tensors whose contents do not matter afterwards
 */
public record Pass<K>(
        String name,
        double flops,
        List<Slot> reads,
        List<Slot> writes,
        List<Slot> scratch,
        Call<K> call) {
    /** Calls a kernel with the tensors of the slots. */
    @FunctionalInterface
    public interface Call<K> {
        void run(K kernel, Function<Slot, Tensor> tensors);
    }

    /** The least memory traffic: each operand read once, each result written once. */
    public long bytes() {
        long bytes = 0;
        for (Slot slot : reads) {
            bytes += slot.bytes();
        }
        for (Slot slot : writes) {
            bytes += slot.fill().isPresent() ? 2 * slot.bytes() : slot.bytes();
        }
        return bytes;
    }
}
