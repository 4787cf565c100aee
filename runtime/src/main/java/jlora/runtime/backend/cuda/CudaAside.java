package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaEvent;
import jlora.cu.driver.CudaStream;
import jlora.runtime.Resources;
import jlora.runtime.backend.Aside;
import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * A second stream: it waits for the compute stream where work is started, and the compute stream
 * for it where that is awaited. Captured, the two waits are edges of the graph, which then has two
 * branches.
 */
final class CudaAside implements Aside, AutoCloseable {
    private final Resources owned = new Resources();
    private final CudaContext context;
    private final CudaStream compute;
    private final CudaStream beside;
    private final CudaEvent started;
    private final CudaKernels kernels;
    private final CudaFourBit fourBit;
    private final Map<Storage, CudaEvent> done = new HashMap<>();

    CudaAside(CudaContext context, CudaKernels launches) {
        this.context = context;
        this.compute = launches.stream();
        try {
            beside = owned.own(context.stream("aside"));
            started = owned.own(context.event("aside started"));
            kernels = launches.beside(beside);
            fourBit = new CudaFourBit(kernels);
            owned.own((AutoCloseable) beside::synchronize);
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, owned);
            throw e;
        }
    }

    @Override
    public void startCopy(Tensor to, Tensor from) {
        long bytes = to.elements() * to.dtype().bytes();
        start(
                to,
                () ->
                        beside.copyToDevice(
                                to.address(),
                                from.segment().address() + from.byteOffset(0),
                                bytes));
    }

    @Override
    public void startDequantize(Tensor to, List<FourBitMatrix> from) {
        start(to, () -> fourBit.dequantize(to, from));
    }

    @Override
    public void startTranspose(Fp8Matrix to, Fp8Matrix from) {
        start(to.codes(), () -> CudaFp8.transpose(kernels, to, from));
    }

    private void start(Tensor to, Runnable work) {
        compute.record(started);
        beside.waitFor(started);
        work.run();
        beside.record(done(to));
    }

    @Override
    public void await(Tensor to) {
        compute.waitFor(done(to));
    }

    /** The compute stream waits for all that was started: what is timed then has it in its time. */
    void join() {
        beside.record(started);
        compute.waitFor(started);
    }

    /** One for each storage: events are few and used again in every step. */
    private CudaEvent done(Tensor to) {
        return done.computeIfAbsent(
                to.storage(), s -> owned.own(context.event("filled " + s.name())));
    }

    @Override
    public void close() {
        owned.close();
    }
}
