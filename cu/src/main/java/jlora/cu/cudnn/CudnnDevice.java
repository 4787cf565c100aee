package jlora.cu.cudnn;

/**
 * What plans are made for: a device of this machine ({@link CudnnHandle}), or one that is described
 * ({@link AbsentDevice}).
 */
public abstract sealed class CudnnDevice implements AutoCloseable
        permits CudnnHandle, AbsentDevice {
    private final Cudnn cudnn;
    private final int computeCapability;

    CudnnDevice(Cudnn cudnn, int computeCapability) {
        this.cudnn = cudnn;
        this.computeCapability = computeCapability;
    }

    public Cudnn cudnn() {
        return cudnn;
    }

    /** 10 · major + minor: 90 is Hopper. */
    public int computeCapability() {
        return computeCapability;
    }

    abstract void describeGraph(Descriptor graph);

    abstract void describeHeuristics(Descriptor heuristics);

    abstract void describeEngine(Descriptor engine);

    abstract void describePlan(Descriptor plan);

    abstract void execute(Descriptor plan, Descriptor pack, String label);

    @Override
    public abstract void close();
}
