package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.backend.Kernels;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** All kernels on the processor's cores, over tensors in host memory. One plan runs at a time. */
public final class CpuBackend extends HostBackend {
    /** Bytes that threads share a copy out by. */
    private static final long PAGE = 4096;

    private final CpuOptions options;
    private final Products products;
    private final CpuPool pool;
    private final CpuLowRank lowRank;
    private final Kernels kernels;

    public CpuBackend(CpuOptions options) {
        this.options = options;
        this.products = options.products().open();
        this.pool = new CpuPool(options.threads());
        this.lowRank = new CpuLowRank(pool, products);
        this.kernels =
                new Kernels(
                        new CpuLinear(pool, products),
                        lowRank,
                        new CpuEmbedding(pool),
                        new CpuRmsNorm(pool),
                        new CpuLayerNorm(pool),
                        new CpuRope(pool),
                        new CpuAttention(pool, products),
                        new CpuCachedAttention(pool, products),
                        new CpuSwiglu(pool),
                        new CpuGelu(pool),
                        new CpuLinearCrossEntropy(pool, products),
                        new CpuGradNorm(pool),
                        new CpuAdamW(pool),
                        new CpuPublish(pool),
                        new CpuRandomFill(pool),
                        new CpuMerge(pool),
                        new CpuFourBit(pool),
                        new CpuFp8(pool, products));
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
    public Kernels kernels() {
        return kernels;
    }

    @Override
    protected void copyBytes(MemorySegment to, MemorySegment from) {
        long bytes = from.byteSize();
        pool.run(
                Math.ceilDiv(bytes, PAGE),
                1,
                (_, first, end) -> {
                    long at = first * PAGE;
                    MemorySegment.copy(from, at, to, at, Math.min(bytes, end * PAGE) - at);
                });
    }

    @Override
    public void close() {
        lowRank.close();
        pool.close();
        products.close();
    }
}
