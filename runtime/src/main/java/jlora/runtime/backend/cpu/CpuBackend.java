package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;

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

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** All kernels on the processor's cores, over tensors in host memory. One plan runs at a time. */
public final class CpuBackend implements Backend {
    private final CpuOptions options;
    private final Products products;
    private final CpuPool pool;
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

    public CpuBackend(CpuOptions options) {
        this.options = options;
        this.products = options.products().open();
        this.pool = new CpuPool(options.threads());
        this.linear = new CpuLinear(pool, products);
        this.embedding = new CpuEmbedding(pool);
        this.rmsNorm = new CpuRmsNorm(pool);
        this.layerNorm = new CpuLayerNorm(pool);
        this.rope = new CpuRope(pool);
        this.attention = new CpuAttention(pool, products);
        this.cachedAttention = new CpuCachedAttention(pool, products);
        this.swiglu = new CpuSwiglu(pool);
        this.gelu = new CpuGelu(pool);
        this.dropout = new CpuDropout(pool);
        this.rowMask = new CpuRowMask(pool);
        this.linearCrossEntropy = new CpuLinearCrossEntropy(pool, products);
        this.gradNorm = new CpuGradNorm(pool);
        this.adamW = new CpuAdamW(pool);
        this.publish = new CpuPublish(pool);
        this.merge = new CpuMerge(pool);
    }

    @Override
    public String describe() {
        return "cpu: "
                + processor()
                + ", "
                + options.threads()
                + (options.threads() == 1 ? " thread, " : " threads, ")
                + FloatVector.SPECIES_PREFERRED.vectorBitSize()
                + "-bit vectors, products by "
                + products.describe();
    }

    private static String processor() {
        try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
            return lines.filter(line -> line.startsWith("model name"))
                    .map(line -> line.substring(line.indexOf(':') + 1).strip())
                    .findFirst()
                    .orElse(System.getProperty("os.arch"));
        } catch (IOException e) {
            return System.getProperty("os.arch");
        }
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
        return MemoryArena.host(label, bytes);
    }

    @Override
    public void upload(Tensor to, MemorySegment from) {
        long rowBytes = to.cols() * to.dtype().bytes();
        for (long r = 0; r < to.rows(); r++) {
            MemorySegment.copy(from, r * rowBytes, to.segment(), to.byteOffset(r), rowBytes);
        }
    }

    @Override
    public void download(MemorySegment to, Tensor from) {
        long rowBytes = from.cols() * from.dtype().bytes();
        for (long r = 0; r < from.rows(); r++) {
            MemorySegment.copy(from.segment(), from.byteOffset(r), to, r * rowBytes, rowBytes);
        }
    }

    @Override
    public void synchronize() {}

    @Override
    public void close() {
        pool.close();
        products.close();
    }
}
