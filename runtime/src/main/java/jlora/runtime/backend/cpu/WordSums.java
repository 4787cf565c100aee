package jlora.runtime.backend.cpu;

import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.concurrent.atomic.AtomicLong;

/** {@link MergeKernel#fingerprints}, a vector of words at a time: integer sums have no order. */
final class WordSums {
    private static final VectorSpecies<Long> LONGS = LongVector.SPECIES_PREFERRED;
    private static final ValueLayout.OfLong WORD =
            ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final long KEY = 0x9E3779B97F4A7C15L;
    private static final LongVector KEYS = LongVector.zero(LONGS).addIndex(1).mul(KEY);
    private static final LongVector NEXT = LongVector.broadcast(LONGS, KEY * LONGS.length());
    private static final LongVector FIRST = LongVector.broadcast(LONGS, 0xD6E8FEB86659FD93L);
    private static final LongVector SECOND = LongVector.broadcast(LONGS, 0xBF58476D1CE4E5B9L);

    private WordSums() {}

    static long of(CpuPool pool, Tensor tensor) {
        long rowBytes = tensor.cols() * tensor.dtype().bytes();
        long words = (rowBytes + 7) / 8;
        AtomicLong sum = new AtomicLong();
        pool.run(
                tensor.rows(),
                Rows.grain(tensor.cols()),
                (part, from, to) -> {
                    long own = 0;
                    for (long row = from; row < to; row++) {
                        MemorySegment bytes =
                                tensor.segment().asSlice(tensor.byteOffset(row), rowBytes);
                        own += whole(bytes, row * words) + last(bytes, row * words);
                    }
                    sum.addAndGet(own);
                });
        return sum.get();
    }

    /** The words that fill vectors. */
    private static long whole(MemorySegment bytes, long index) {
        LongVector sums = LongVector.zero(LONGS);
        LongVector keys = KEYS.add((index + 1) * KEY);
        long end = bytes.byteSize() - LONGS.vectorByteSize();
        for (long at = 0; at <= end; at += LONGS.vectorByteSize()) {
            LongVector x =
                    LongVector.fromMemorySegment(LONGS, bytes, at, ByteOrder.LITTLE_ENDIAN)
                            .lanewise(VectorOperators.XOR, keys);
            x = x.lanewise(VectorOperators.XOR, x.lanewise(VectorOperators.LSHR, 32)).mul(FIRST);
            x = x.lanewise(VectorOperators.XOR, x.lanewise(VectorOperators.LSHR, 29)).mul(SECOND);
            x = x.lanewise(VectorOperators.XOR, x.lanewise(VectorOperators.LSHR, 32));
            sums = sums.add(x);
            keys = keys.add(NEXT);
        }
        long total = 0;
        for (long lane : sums.toArray()) {
            total += lane;
        }
        return total;
    }

    /** The words behind those. */
    private static long last(MemorySegment bytes, long index) {
        long size = bytes.byteSize();
        long at = size / LONGS.vectorByteSize() * LONGS.vectorByteSize();
        long sum = 0;
        for (; at + 8 <= size; at += 8) {
            sum += MergeKernel.mix(bytes.get(WORD, at), index + at / 8);
        }
        if (at < size) {
            long word = 0;
            for (long i = at; i < size; i++) {
                word |= (bytes.get(ValueLayout.JAVA_BYTE, i) & 0xFFL) << 8 * (i - at);
            }
            sum += MergeKernel.mix(word, index + at / 8);
        }
        return sum;
    }
}
