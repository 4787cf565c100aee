package jlora.runtime.backend.cuda;

import jlora.cu.CudaLibraries;
import jlora.cu.MissingLibraryException;
import jlora.cu.cublas.MatmulApi;
import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.DeviceBuffer;
import jlora.cu.driver.DeviceInfo;
import jlora.cu.driver.PinnedBuffer;
import jlora.runtime.JloraException;
import jlora.runtime.Resources;
import jlora.runtime.backend.Aside;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.HostRows;
import jlora.runtime.backend.Kernels;
import jlora.runtime.backend.Readback;
import jlora.runtime.backend.Routine;
import jlora.runtime.backend.UserCache;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.LongStream;

/**
 * All kernels on one NVIDIA GPU. Calls start work on the backend's one stream and return; a failure
 * of an earlier one may show in any later call.
 */
public final class CudaBackend implements Backend {
    /**
     * What plans leave free of a device: the driver takes it for the context, for the kernels of
     * libraries as they are first used, and for graphs.
     */
    public static final long MARGIN_BYTES = 640L << 20;

    /** What a backend holds for itself whoever computes attention. */
    private static final long HELD_BYTES =
            CudaKernels.SCRATCH_BYTES
                    + DeviceTables.CHUNK_BYTES
                    + CudaProducts.DEVICE_BYTES
                    + CudaFp8.DEVICE_BYTES;

    /** What a backend holds for itself at most, on any device. */
    public static final long RESERVED_BYTES = HELD_BYTES + CudnnAttention.WORKSPACE_BYTES;

    /** Host memory that one thread clears at a time. */
    private static final long CLEARED_BYTES = 64L << 20;

    private final Resources owned = new Resources();
    private final Thread owner = Thread.currentThread();
    private final CudaContext context;
    private final long freeAtOpen;
    private final CudaStream stream;
    private final CudaKernels launches;
    private final CudaProducts products;
    private final CudaAttention attention;
    private final Kernels kernels;
    private final CudaCopies copies;
    private final CudaReadbacks readbacks;
    private final CudaAside aside;

    /** The device of this number; what is missing for it is one sentence. */
    public CudaBackend(CudaLibraries libraries, int ordinal) {
        this(libraries, ordinal, CudaBinding.PANAMA);
    }

    /**
     * @param ordinal number of the device
     * @param binding who calls the driver
     */
    public CudaBackend(CudaLibraries libraries, int ordinal, CudaBinding binding) {
        this(libraries, ordinal, binding, AttentionEngine.AUTO, UserCache.folder());
    }

    /**
     * @param ordinal number of the device
     * @param binding who calls the driver
     * @param engine who computes attention
     * @param cache where the algorithms of products are kept from run to run
     */
    public CudaBackend(
            CudaLibraries libraries,
            int ordinal,
            CudaBinding binding,
            AttentionEngine engine,
            Path cache) {
        try {
            CudaDevices devices = CudaDevices.find(libraries, binding);
            devices.require(ordinal);
            this.context = owned.own(CudaContext.open(devices.driver(), ordinal));
            this.freeAtOpen = context.memory().free();
            this.stream = owned.own(context.stream("compute"));
            KernelModules modules =
                    owned.own(new KernelModules(context, KernelImages.ofThisBuild()));
            this.launches = owned.own(new CudaKernels(context, stream, modules));
            this.products = owned.own(openProducts(libraries, binding, cache));
            this.attention = owned.own(CudaAttention.open(engine, libraries, launches));
            this.copies = owned.own(new CudaCopies(context, stream));
            this.readbacks = owned.own(new CudaReadbacks(context, stream));
            this.kernels =
                    new Kernels(
                            new CudaLinear(launches, products),
                            new CudaLowRank(launches),
                            new CudaEmbedding(launches),
                            new CudaRmsNorm(launches),
                            new CudaLayerNorm(launches),
                            new CudaRope(launches),
                            attention,
                            new CudaCachedAttention(launches),
                            new CudaSwiglu(launches),
                            new CudaGelu(launches),
                            new CudaLinearCrossEntropy(launches, products),
                            new CudaGradNorm(launches),
                            new CudaAdamW(launches),
                            new CudaPublish(launches),
                            new CudaRandomFill(launches),
                            new CudaMerge(launches),
                            new CudaFourBit(launches),
                            owned.own(new CudaFp8(launches, products)));
            this.aside = owned.own(new CudaAside(context, launches));
            // Closed first: nothing that is still running may use what goes next.
            owned.own((AutoCloseable) stream::synchronize);
        } catch (MissingLibraryException e) {
            JloraException failure = CudaFaults.missing(e);
            Resources.closeAfter(failure, owned);
            throw failure;
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, owned);
            throw e;
        }
    }

    private CudaProducts openProducts(CudaLibraries libraries, CudaBinding binding, Path cache) {
        MatmulApi matmul = owned.own(binding.products(libraries, context));
        AlgorithmCache algorithms = AlgorithmCache.open(cache, matmul.version(), context.device());
        return new CudaProducts(launches, matmul, algorithms);
    }

    CudaProducts products() {
        return products;
    }

    /** What a user may want to know of this run on the device. */
    public List<String> notes() {
        return products.notes();
    }

    @Override
    public String describe() {
        DeviceInfo device = context.device();
        return "cuda:"
                + device.ordinal()
                + ": "
                + device.name()
                + ", "
                + device.architecture()
                + ", attention by "
                + attention.describe();
    }

    @Override
    public Kernels kernels() {
        return kernels;
    }

    CudaKernels launches() {
        return launches;
    }

    public DeviceInfo device() {
        return context.device();
    }

    /** Memory of the device that nothing uses now, by the driver. */
    public long freeBytes() {
        return context.memory().free();
    }

    @Override
    public MemoryArena allocate(String label, long bytes) {
        requireOwner();
        DeviceBuffer buffer = context.allocate(label, Math.max(1, bytes));
        try {
            stream.fill(buffer.address(), (byte) 0, buffer.bytes());
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, buffer);
            throw e;
        }
        return MemoryArena.device(label, bytes, buffer.address(), buffer::close);
    }

    @Override
    public MemoryArena allocateHost(String label, long bytes) {
        requireOwner();
        PinnedBuffer buffer = context.allocatePinned(label, Math.max(1, bytes));
        // A hundred gigabytes are a minute's work for one thread.
        LongStream.range(0, Math.ceilDiv(buffer.bytes(), CLEARED_BYTES))
                .parallel()
                .map(i -> i * CLEARED_BYTES)
                .forEach(
                        from ->
                                buffer.segment()
                                        .asSlice(
                                                from,
                                                Math.min(CLEARED_BYTES, buffer.bytes() - from))
                                        .fill((byte) 0));
        return MemoryArena.host(label, buffer.segment().asSlice(0, bytes), buffer::close);
    }

    @Override
    public Aside aside() {
        return aside;
    }

    @Override
    public long reservedBytes() {
        return HELD_BYTES + attention.reservedBytes();
    }

    @Override
    public long usedBytes() {
        return Math.max(0, freeAtOpen - freeBytes());
    }

    @Override
    public long cacheBytes() {
        return device().l2Bytes();
    }

    @Override
    public void copy(Tensor to, Tensor from) {
        requireOwner();
        Backend.requireDense(to, from);
        stream.copy(to.address(), from.address(), from.elements() * from.dtype().bytes());
    }

    @Override
    public void upload(Tensor to, MemorySegment from) {
        requireOwner();
        copies.upload(to, from);
    }

    @Override
    public void upload(List<HostRows> sources) {
        requireOwner();
        copies.upload(sources);
    }

    @Override
    public void download(MemorySegment to, Tensor from) {
        requireOwner();
        copies.download(to, from);
    }

    @Override
    public Readback readLater(Tensor from) {
        requireOwner();
        return readbacks.start(from);
    }

    /**
     * Waits for results ask, again and again, whether they can still come: other GPUs may have a
     * part in them.
     *
     * @param check throws when they cannot
     * @param timeout of a wait; zero waits for ever
     */
    void watchWaits(Runnable check, Duration timeout) {
        readbacks.watch(check, timeout);
    }

    @Override
    public Routine routine(String label, Runnable work) {
        return new CudaRoutine(label, work, stream);
    }

    @Override
    public boolean asynchronous() {
        return true;
    }

    @Override
    public void synchronize() {
        requireOwner();
        stream.synchronize();
    }

    @Override
    public double milliseconds(Runnable work) {
        try (EventTimer timer = new EventTimer(context, stream)) {
            return timer.milliseconds(
                    1,
                    () -> {
                        work.run();
                        aside.join();
                    });
        }
    }

    /** The context and the buffers of a stream's arguments belong to one thread. */
    private void requireOwner() {
        if (Thread.currentThread() != owner) {
            throw new IllegalStateException(
                    "a CUDA backend is used by the thread that opened it, "
                            + owner.getName()
                            + ", and not by "
                            + Thread.currentThread().getName());
        }
    }

    @Override
    public void close() {
        owned.close();
    }
}
