package jlora.runtime.backend.cuda;

import jlora.cu.CudaLibraries;
import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaDriver;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.DeviceBuffer;
import jlora.cu.driver.PinnedBuffer;
import jlora.cu.sys.CudaDriverApi;
import jlora.cu.sys.PanamaCudaDriver;
import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.AdamWKernel;
import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.CachedAttentionKernel;
import jlora.runtime.kernel.DropoutKernel;
import jlora.runtime.kernel.EmbeddingKernel;
import jlora.runtime.kernel.GeluKernel;
import jlora.runtime.kernel.GradNormKernel;
import jlora.runtime.kernel.LayerNormKernel;
import jlora.runtime.kernel.LinearCrossEntropyKernel;
import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.kernel.PublishKernel;
import jlora.runtime.kernel.RmsNormKernel;
import jlora.runtime.kernel.RopeKernel;
import jlora.runtime.kernel.RowMaskKernel;
import jlora.runtime.kernel.SwigluKernel;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;

/** All kernels on one NVIDIA GPU. Calls start work on the backend's stream and return. */
public final class CudaBackend implements Backend {
    private static final long STAGING_BYTES = 32L << 20;

    private final CudaContext context;
    private final CudaStream stream;
    private final CudaKernels kernels;
    private final PinnedBuffer staging;
    private final LinearKernel linear;
    private final EmbeddingKernel embedding;
    private final RmsNormKernel rmsNorm;
    private final LayerNormKernel layerNorm;
    private final RopeKernel rope;
    private final AttentionKernel attention;
    private final CachedAttentionKernel cachedAttention;
    private final SwigluKernel swiglu;
    private final GeluKernel gelu;
    private final DropoutKernel dropout;
    private final RowMaskKernel rowMask;
    private final LinearCrossEntropyKernel linearCrossEntropy;
    private final GradNormKernel gradNorm;
    private final AdamWKernel adamW;
    private final PublishKernel publish;
    private final MergeKernel merge;

    /**
     * @param ordinal of the device
     */
    public CudaBackend(CudaLibraries libraries, int ordinal) {
        CudaDriver driver = CudaDriver.init(new PanamaCudaDriver(libraries.driver().symbols()));
        this.context = CudaContext.open(driver, ordinal);
        this.stream = context.stream("compute");
        this.kernels = new CudaKernels(context, stream, KernelModules.load(context));
        this.staging = context.allocatePinned("staging", STAGING_BYTES);
        this.linear = new CudaLinear(kernels);
        this.embedding = new CudaEmbedding(kernels);
        this.rmsNorm = new CudaRmsNorm(kernels);
        this.layerNorm = new CudaLayerNorm(kernels);
        this.rope = new CudaRope(kernels);
        this.attention = new CudaAttention(kernels);
        this.cachedAttention = new CudaCachedAttention(kernels);
        this.swiglu = new CudaSwiglu(kernels);
        this.gelu = new CudaGelu(kernels);
        this.dropout = new CudaDropout(kernels);
        this.rowMask = new CudaRowMask(kernels);
        this.linearCrossEntropy = new CudaLinearCrossEntropy(kernels);
        this.gradNorm = new CudaGradNorm(kernels);
        this.adamW = new CudaAdamW(kernels);
        this.publish = new CudaPublish(kernels);
        this.merge = new CudaMerge(kernels);
    }

    @Override
    public String describe() {
        return "cuda: " + context.device().name();
    }

    @Override
    public LinearKernel linear() {
        return linear;
    }

    @Override
    public EmbeddingKernel embedding() {
        return embedding;
    }

    @Override
    public RmsNormKernel rmsNorm() {
        return rmsNorm;
    }

    @Override
    public LayerNormKernel layerNorm() {
        return layerNorm;
    }

    @Override
    public RopeKernel rope() {
        return rope;
    }

    @Override
    public AttentionKernel attention() {
        return attention;
    }

    @Override
    public CachedAttentionKernel cachedAttention() {
        return cachedAttention;
    }

    @Override
    public SwigluKernel swiglu() {
        return swiglu;
    }

    @Override
    public GeluKernel gelu() {
        return gelu;
    }

    @Override
    public DropoutKernel dropout() {
        return dropout;
    }

    @Override
    public RowMaskKernel rowMask() {
        return rowMask;
    }

    @Override
    public LinearCrossEntropyKernel linearCrossEntropy() {
        return linearCrossEntropy;
    }

    @Override
    public GradNormKernel gradNorm() {
        return gradNorm;
    }

    @Override
    public AdamWKernel adamW() {
        return adamW;
    }

    @Override
    public PublishKernel publish() {
        return publish;
    }

    @Override
    public MergeKernel merge() {
        return merge;
    }

    @Override
    public MemoryArena allocate(String label, long bytes) {
        DeviceBuffer buffer = context.allocate(label, Math.max(1, bytes));
        stream.fill(buffer.address(), (byte) 0, Math.max(1, bytes));
        return MemoryArena.device(label, bytes, buffer.address(), buffer::close);
    }

    @Override
    public void upload(Tensor to, MemorySegment from) {
        long rowBytes = to.cols() * to.dtype().bytes();
        copyRows(
                to,
                rowBytes,
                (host, row, rows) -> {
                    MemorySegment.copy(from, row * rowBytes, staging.segment(), 0, rows * rowBytes);
                    stream.copy(
                            new CudaDriverApi.Copy2D(
                                    to.address() + row * to.stride() * to.dtype().bytes(),
                                    to.stride() * to.dtype().bytes(),
                                    false,
                                    host,
                                    rowBytes,
                                    true,
                                    rowBytes,
                                    rows));
                    stream.synchronize();
                });
    }

    @Override
    public void download(MemorySegment to, Tensor from) {
        long rowBytes = from.cols() * from.dtype().bytes();
        copyRows(
                from,
                rowBytes,
                (host, row, rows) -> {
                    stream.copy(
                            new CudaDriverApi.Copy2D(
                                    host,
                                    rowBytes,
                                    true,
                                    from.address() + row * from.stride() * from.dtype().bytes(),
                                    from.stride() * from.dtype().bytes(),
                                    false,
                                    rowBytes,
                                    rows));
                    stream.synchronize();
                    MemorySegment.copy(staging.segment(), 0, to, row * rowBytes, rows * rowBytes);
                });
    }

    private interface Rows {
        void copy(long host, long row, long rows);
    }

    private void copyRows(Tensor tensor, long rowBytes, Rows rows) {
        if (tensor.elements() == 0) {
            return;
        }
        long most = STAGING_BYTES / rowBytes;
        for (long row = 0; row < tensor.rows(); row += most) {
            rows.copy(staging.segment().address(), row, Math.min(most, tensor.rows() - row));
        }
    }

    @Override
    public void synchronize() {
        stream.synchronize();
    }

    @Override
    public void close() {
        staging.close();
        kernels.close();
        stream.close();
        context.close();
    }
}
