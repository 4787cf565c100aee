package jlora.trainer.launch;

/**
 * Host memory of one worker, as a scheduler has to be asked for it. The heap is granted by {@code
 * -Xmx}, so that the sum holds whatever memory the machine has.
 *
 * @param plan bytes of the plan that lie in host memory; 0 on a GPU
 * @param heap bytes that Java's heap may grow to: tokenised rows, metrics
 * @param rest what is neither
 */
public record WorkerMemory(long plan, long heap, long rest) {
    private static final long MIB = 1L << 20;

    /** Tokenised rows take 8 bytes a token: enough for some hundred million. */
    public static final long HEAP = 2048 * MIB;

    /**
     * Code, stacks, the collector's tables, the product library: measured 290 MiB beyond the plan
     * with a nearly empty heap, for plans of 47 and of 986 MiB.
     */
    private static final long JAVA = 512 * MIB;

    /** The driver's side of a context, CUDA's libraries, pinned buffers; an allowance. */
    private static final long CUDA = 4096 * MIB;

    static WorkerMemory of(boolean gpu, long planBytes, long heap) {
        return gpu
                ? new WorkerMemory(0, heap, JAVA + CUDA)
                : new WorkerMemory(planBytes, heap, JAVA);
    }

    /** What a worker of a CPU takes beyond its plan. */
    static long beyondPlan(long heap) {
        return heap + JAVA;
    }

    /** Whole MiB to ask for. */
    public long mib() {
        return (plan + heap + rest + MIB - 1) / MIB;
    }

    /** What Java is told. */
    public String javaOptions() {
        return "-Xmx" + heap / MIB + "m";
    }
}
