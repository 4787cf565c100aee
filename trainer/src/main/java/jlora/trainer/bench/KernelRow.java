package jlora.trainer.bench;

import java.util.OptionalDouble;

/**
 * One kernel call, timed alone.
 *
 * @param op the step's label, or the name of what a step does not do by itself
 * @param shape its largest operands, {@code written ← read} where they differ
 * @param calls how many calls of a step are like it; 0 for work that is no part of a step
 * @param bytes that the call moves when each operand is read and written once
 * @param operandBytes of memory that it touches: what is read and written counts once
 * @param flops floating-point operations
 * @param milliseconds median
 */
public record KernelRow(
        String op,
        String shape,
        int calls,
        long bytes,
        long operandBytes,
        long flops,
        double milliseconds) {
    public double bytesPerSecond() {
        return bytes / milliseconds * 1e3;
    }

    public double flopsPerSecond() {
        return flops / milliseconds * 1e3;
    }

    /** Of all calls of a step that are like it. */
    public double millisecondsPerStep() {
        return calls * milliseconds;
    }

    /** True when the device's memory, not its arithmetic, is what limits the call. */
    public boolean memoryBound(Ceilings ceilings) {
        return bytes / ceilings.bytesPerSecond() >= flops / ceilings.flopsPerSecond();
    }

    /** The share of its limit that the call reaches. */
    public double ofLimit(Ceilings ceilings) {
        return ceilings.seconds(flops, bytes) / milliseconds * 1e3;
    }

    /** Milliseconds of a step beyond what its limit allows: what tuning the kernel can win. */
    public double lostMilliseconds(Ceilings ceilings) {
        return Math.max(0, millisecondsPerStep() * (1 - ofLimit(ceilings)));
    }

    /**
     * True when a cache explains the time. Calls are timed over the same operands again and again,
     * so a call finds in the cache what the one before left there: everything where the operands
     * fit, and otherwise no more than the cache holds, so that the rest comes from memory, no
     * faster than a copy.
     */
    public boolean inCache(Ceilings ceilings) {
        if (operandBytes <= ceilings.cacheBytes()) {
            return true;
        }
        double fromMemory = bytes * (1 - (double) ceilings.cacheBytes() / operandBytes);
        return fasterThanCopy(ceilings)
                && ceilings.cacheBytes() > 0
                && fromMemory <= ceilings.bytesPerSecond() * milliseconds / 1e3;
    }

    /**
     * The share of the copy's rate. From operands in the cache it is at most what memory would
     * give, and says nothing at all once it is more than the copy's: empty.
     */
    public OptionalDouble ofCopy(Ceilings ceilings) {
        return inCache(ceilings) && fasterThanCopy(ceilings)
                ? OptionalDouble.empty()
                : OptionalDouble.of(bytesPerSecond() / ceilings.bytesPerSecond());
    }

    private boolean fasterThanCopy(Ceilings ceilings) {
        return bytesPerSecond() > ceilings.bytesPerSecond();
    }
}
