package jlora.cu.sys;

import java.lang.foreign.Arena;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.ValueLayout;

/** The struct {@code CUDA_MEMCPY2D} of {@code cuda.h}. */
final class CudaMemcpy2D {
    static final StructLayout LAYOUT =
            MemoryLayout.structLayout(
                    ValueLayout.JAVA_LONG.withName("srcXInBytes"),
                    ValueLayout.JAVA_LONG.withName("srcY"),
                    ValueLayout.JAVA_INT.withName("srcMemoryType"),
                    MemoryLayout.paddingLayout(4),
                    ValueLayout.JAVA_LONG.withName("srcHost"),
                    ValueLayout.JAVA_LONG.withName("srcDevice"),
                    ValueLayout.JAVA_LONG.withName("srcArray"),
                    ValueLayout.JAVA_LONG.withName("srcPitch"),
                    ValueLayout.JAVA_LONG.withName("dstXInBytes"),
                    ValueLayout.JAVA_LONG.withName("dstY"),
                    ValueLayout.JAVA_INT.withName("dstMemoryType"),
                    MemoryLayout.paddingLayout(4),
                    ValueLayout.JAVA_LONG.withName("dstHost"),
                    ValueLayout.JAVA_LONG.withName("dstDevice"),
                    ValueLayout.JAVA_LONG.withName("dstArray"),
                    ValueLayout.JAVA_LONG.withName("dstPitch"),
                    ValueLayout.JAVA_LONG.withName("WidthInBytes"),
                    ValueLayout.JAVA_LONG.withName("Height"));

    private CudaMemcpy2D() {}

    static MemorySegment of(Arena arena, CudaDriverApi.Copy2D copy) {
        MemorySegment struct = arena.allocate(LAYOUT);
        side(struct, "src", copy.from(), copy.fromPitch(), copy.fromHost());
        side(struct, "dst", copy.to(), copy.toPitch(), copy.toHost());
        set(struct, "WidthInBytes", copy.widthInBytes());
        set(struct, "Height", copy.height());
        return struct;
    }

    private static void side(
            MemorySegment struct, String side, long address, long pitch, boolean host) {
        int type =
                host ? CudaDriverConstants.MEMORYTYPE_HOST : CudaDriverConstants.MEMORYTYPE_DEVICE;
        struct.set(ValueLayout.JAVA_INT, offset(side + "MemoryType"), type);
        set(struct, side + (host ? "Host" : "Device"), address);
        set(struct, side + "Pitch", pitch);
    }

    private static void set(MemorySegment struct, String field, long value) {
        struct.set(ValueLayout.JAVA_LONG, offset(field), value);
    }

    private static long offset(String field) {
        return LAYOUT.byteOffset(MemoryLayout.PathElement.groupElement(field));
    }
}
