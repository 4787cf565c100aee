package jlora.cu.cudnn;

import jlora.cu.driver.CudaStream;
import jlora.cu.driver.DeviceInfo;
import jlora.cu.sys.CudnnConstants;

/**
 * cuDNN on the device of the current context, with everything that is executed in one stream. Used
 * by the thread that launches, and by no other.
 */
public final class CudnnHandle extends CudnnDevice {
    private long handle;

    private CudnnHandle(Cudnn cudnn, int computeCapability, long handle) {
        super(cudnn, computeCapability);
        this.handle = handle;
    }

    public static CudnnHandle open(Cudnn cudnn, DeviceInfo device, CudaStream stream) {
        long[] out = new long[1];
        cudnn.check("cudnnCreate", cudnn.sys().cudnnCreate(out), "on " + device.name());
        CudnnHandle handle = new CudnnHandle(cudnn, 10 * device.major() + device.minor(), out[0]);
        try {
            cudnn.check(
                    "cudnnSetStream",
                    cudnn.sys().cudnnSetStream(out[0], stream.handle()),
                    "stream " + stream.label());
            return handle;
        } catch (RuntimeException | Error e) {
            handle.close();
            throw e;
        }
    }

    long handle() {
        if (handle == 0) {
            throw new IllegalStateException("the cuDNN handle is closed");
        }
        return handle;
    }

    @Override
    void describeGraph(Descriptor graph) {
        setHandle(graph, CudnnConstants.CUDNN_ATTR_OPERATIONGRAPH_HANDLE);
    }

    /** Heuristics and engines take the device from the graph's handle. */
    @Override
    void describeHeuristics(Descriptor heuristics) {}

    @Override
    void describeEngine(Descriptor engine) {}

    @Override
    void describePlan(Descriptor plan) {
        setHandle(plan, CudnnConstants.CUDNN_ATTR_EXECUTION_PLAN_HANDLE);
    }

    @Override
    void execute(Descriptor plan, Descriptor pack, String label) {
        cudnn().checkExecution(
                        "cudnnBackendExecute",
                        cudnn().sys().cudnnBackendExecute(handle(), plan.handle(), pack.handle()),
                        label);
    }

    private void setHandle(Descriptor descriptor, int attribute) {
        descriptor.longs(attribute, CudnnConstants.CUDNN_TYPE_HANDLE, handle());
    }

    /** Waits for the device, then gives up cuDNN's memory; twice is fine. */
    @Override
    public void close() {
        if (handle != 0) {
            long destroyed = handle;
            handle = 0;
            cudnn().check("cudnnDestroy", cudnn().sys().cudnnDestroy(destroyed), "");
        }
    }
}
