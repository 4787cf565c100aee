package jlora.runtime.backend.cpu;

import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.Corrections.Kind;
import jlora.runtime.tensor.MemoryArena;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;

/** The record of one weight matrix, rectangle behind rectangle in one stretch of memory. */
final class CpuCorrection implements AutoCloseable {
    private final MergeStripes stripes;
    private final Kind kind;
    private final int width;
    private final long corrected;
    private final long[] offsets;
    private final Optional<MemoryArena> memory;

    /** Makes room for the cheapest form; nothing is written yet. */
    CpuCorrection(MergeStripes stripes, CorrectionSizes sizes) {
        this.stripes = stripes;
        this.kind = sizes.cheapest();
        this.width = sizes.width();
        this.corrected = sizes.corrected();
        this.offsets = kind == Kind.NONE ? new long[0] : sizes.offsets(kind);
        this.memory =
                kind == Kind.NONE
                        ? Optional.empty()
                        : Optional.of(
                                MemoryArena.host("merge correction", offsets[stripes.count()]));
    }

    MergeStripes stripes() {
        return stripes;
    }

    int width() {
        return width;
    }

    /** Bytes of one rectangle's record. */
    int size(int stripe) {
        return (int) (offsets[stripe + 1] - offsets[stripe]);
    }

    /** The memory of one rectangle's record. */
    MemorySegment segment(int stripe) {
        return memory.orElseThrow().segment().asSlice(offsets[stripe], size(stripe));
    }

    void write(int stripe, byte[] from) {
        MemorySegment to = segment(stripe);
        MemorySegment.copy(from, 0, to, ValueLayout.JAVA_BYTE, 0, size(stripe));
    }

    void read(int stripe, byte[] to) {
        MemorySegment from = segment(stripe);
        MemorySegment.copy(from, ValueLayout.JAVA_BYTE, 0, to, 0, size(stripe));
    }

    Kind kind() {
        return kind;
    }

    long bytes() {
        return memory.map(MemoryArena::bytes).orElse(0L) + (long) offsets.length * Long.BYTES;
    }

    Corrections.Matrix summary() {
        return new Corrections.Matrix(kind, corrected, bytes());
    }

    @Override
    public void close() {
        memory.ifPresent(MemoryArena::close);
    }
}
