package jlora.runtime.kernel;

import jlora.runtime.tensor.Tensor;

import java.util.List;
import java.util.Optional;

/**
 * Adds low-rank products to weights in place, and takes them off again to the bit. With W [N,K] of
 * f32 or bf16, A [r,K] and s·B [N,r] of the same type:
 *
 * <pre>
 *   delta = Σ sB[i,k]·A[k,j], in f32, fused multiply-adds from 0 on, in ascending k
 *   W1 = round(W + delta); the sum in f32
 *   W  = round(W1 − delta), the difference in f32, where the record does not say otherwise
 * </pre>
 *
 * The order of each sum is part of the contract: unmerging forms the very same delta, whatever the
 * number of threads. Weights are compared by their bits, so zeros keep their signs. All of a
 * model's matrices are given at once, so that a device is waited for once and not per matrix.
 */
public interface MergeKernel {
    /** A matrix and its factors, which do not overlap those of another part. */
    record Part(Tensor w, Tensor a, Tensor b) {}

    /**
     * Every W becomes its W1, or no weight changes: empty when a weight, a factor or a merged
     * weight is NaN or infinite; when memory for the records is missing, that is thrown and the
     * weights are what they were.
     */
    Optional<Corrections> merge(List<Part> parts);

    /** W1 becomes W again; the parts, and their A and B, are what they were at the merge. */
    void unmerge(List<Part> parts, Corrections corrections);

    /**
     * Fingerprints of tensors' values, whatever the strides: the sum modulo 2⁶⁴, over the words of
     * 8 bytes that each row consists of (the last one filled up with zeros), of {@link #mix}(word,
     * row · words per row + word's number in the row). Changing one word always changes it.
     */
    long[] fingerprints(List<Tensor> tensors);

    /** A bijection of the word for each index, that spreads every bit of both over all of it. */
    static long mix(long word, long index) {
        long x = word ^ (index + 1) * 0x9E3779B97F4A7C15L;
        x = (x ^ x >>> 32) * 0xD6E8FEB86659FD93L;
        x = (x ^ x >>> 29) * 0xBF58476D1CE4E5B9L;
        return x ^ x >>> 32;
    }
}
