package jlora.trainer.bench;

/**
 * One kernel call of a step, timed alone.
 *
 * @param op the step's label
 * @param shape its largest operand
 * @param calls how many calls of a step are like it
 * @param bytes that the call moves when each operand is read and written once
 * @param flops floating-point operations
 * @param milliseconds median
 */
public record KernelRow(
        String op, String shape, int calls, long bytes, long flops, double milliseconds) {
    public double bytesPerSecond() {
        return bytes / milliseconds * 1e3;
    }

    public double flopsPerSecond() {
        return flops / milliseconds * 1e3;
    }

    /** True when the device's memory, not its arithmetic, is what limits the call. */
    public boolean memoryBound(Ceilings ceilings) {
        return bytes / ceilings.bytesPerSecond() >= flops / ceilings.flopsPerSecond();
    }

    /** The share of its limit that the call reaches. */
    public double ofLimit(Ceilings ceilings) {
        return ceilings.seconds(flops, bytes) / milliseconds * 1e3;
    }
}
