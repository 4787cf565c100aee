package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaStream;
import jlora.cu.driver.LaunchShape;
import jlora.runtime.Resources;
import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.LongUnaryOperator;

/**
 * {@link MergeKernel} in one pass over the weights: each tile is merged and its loss recorded at
 * once, as long as the pool for records has space. A sample of the tiles says beforehand how much
 * it should have; tiles that find it full are left as they are, for another pass with another pool.
 */
final class CudaMerge implements MergeKernel {
    private static final int THREADS = 256;

    /** {@code merge::Shared}: factors of 16 ranks as f32, and 16 bytes per thread and row. */
    private static final int SHARED_BYTES = (16 * 256 + 16 * 68) * Float.BYTES + 8 * THREADS * 16;

    /** {@code merge::Control}, in longs. */
    private static final int CONTROL = 3;

    /** One of so many tiles is sampled. */
    private static final int SAMPLE = 32;

    /** What a pool has beyond what the sample says: all that a small model can ask for. */
    private static final long SLACK_BYTES = 1L << 20;

    private final CudaKernels kernels;
    private final LongUnaryOperator poolBytes;

    CudaMerge(CudaKernels kernels) {
        this(kernels, likely -> likely + likely / 16 + SLACK_BYTES);
    }

    /**
     * @param poolBytes what the pool gets, by what the sample says
     */
    CudaMerge(CudaKernels kernels, LongUnaryOperator poolBytes) {
        this.kernels = kernels;
        this.poolBytes = poolBytes;
    }

    /** What the tiles of a pass counted, and per part {@link CudaCorrections#COUNTS}. */
    private record Pass(long used, long missing, boolean notFinite, long[] counts) {}

    @Override
    public Optional<Corrections> merge(List<Part> parts) {
        Pass sample = pass(parts, Optional.empty(), SAMPLE, false);
        if (sample.notFinite) {
            return Optional.empty();
        }
        long bytes = poolBytes.applyAsLong(sample.used * SAMPLE);
        CudaCorrections records = new CudaCorrections(kernels, parts, bytes);
        try {
            Pass pass = pass(parts, Optional.of(records), 1, false);
            records.count(pass.counts);
            while (!pass.notFinite && pass.missing > 0) {
                records.addPool(pass.missing);
                pass = pass(parts, Optional.of(records), 1, true);
                records.count(pass.counts);
            }
            if (pass.notFinite) {
                restore(parts, records);
                records.close();
                return Optional.empty();
            }
            return Optional.of(records);
        } catch (RuntimeException | Error e) {
            // Tiles that were not merged say so in their headers.
            Resources.closeAfter(e, () -> restore(parts, records));
            Resources.closeAfter(e, records);
            throw e;
        }
    }

    /**
     * Runs over every so many tiles of all parts and waits for what they counted.
     *
     * @param records where to; without them nothing is merged
     * @param again only tiles that the pass before left open
     */
    private Pass pass(
            List<Part> parts, Optional<CudaCorrections> records, int step, boolean again) {
        int counts = CONTROL + parts.size() * CudaCorrections.COUNTS;
        CudaStream stream = kernels.stream();
        long control = kernels.scratch((long) counts * Long.BYTES);
        stream.fill(control, (byte) 0, (long) counts * Long.BYTES);
        for (int i = 0; i < parts.size(); i++) {
            Part part = parts.get(i);
            long tiles = CudaCorrections.tiles(part.w());
            if (tiles > 0) {
                call("merge_apply", part)
                        .pointer(records.isPresent() ? records.get().headers(i) : 0)
                        .pointer(records.isPresent() ? records.get().pool() : 0)
                        .i64(records.isPresent() ? records.get().poolBytes() : 0)
                        .pointer(control)
                        .pointer(
                                control
                                        + (CONTROL + i * CudaCorrections.COUNTS)
                                                * (long) Long.BYTES)
                        .i32(step)
                        .i32(again ? 1 : 0)
                        .launch(shape(Math.ceilDiv(tiles, step)));
            }
        }
        long[] counted = read(control, counts);
        long[] ofParts = Arrays.copyOfRange(counted, CONTROL, counts);
        return new Pass(counted[0], counted[1], counted[2] != 0, ofParts);
    }

    @Override
    public void unmerge(List<Part> parts, Corrections corrections) {
        restore(parts, (CudaCorrections) corrections);
    }

    private void restore(List<Part> parts, CudaCorrections records) {
        for (int i = 0; i < parts.size(); i++) {
            long tiles = CudaCorrections.tiles(parts.get(i).w());
            if (tiles > 0) {
                call("merge_restore", parts.get(i))
                        .pointer(records.headers(i))
                        .launch(shape(tiles));
            }
        }
    }

    private static LaunchShape shape(long tiles) {
        return LaunchShape.of(tiles, THREADS).shared(SHARED_BYTES);
    }

    private CudaKernels.Call call(String stem, Part part) {
        Tensor w = part.w();
        Tensor a = part.a();
        Tensor b = part.b();
        boolean vectors = CudaKernels.aligned(w, a);
        return kernels.call(stem + CudaKernels.suffix(w.dtype()) + (vectors ? "" : "_scalar"))
                .tensor(w)
                .i64(w.stride())
                .i32(w.rows())
                .i32(w.cols())
                .tensor(a)
                .i64(a.stride())
                .tensor(b)
                .i64(b.stride())
                .i32(a.rows());
    }

    @Override
    public long[] fingerprints(List<Tensor> tensors) {
        if (tensors.isEmpty()) {
            return new long[0];
        }
        long bytes = (long) tensors.size() * Long.BYTES;
        long prints = kernels.scratch(bytes);
        kernels.stream().fill(prints, (byte) 0, bytes);
        for (int i = 0; i < tensors.size(); i++) {
            Tensor tensor = tensors.get(i);
            if (tensor.elements() == 0) {
                continue;
            }
            int width = tensor.dtype().bytes();
            long warps = Math.ceilDiv(tensor.rows(), THREADS / 32);
            // Two full waves of blocks: each warp takes several rows of a large tensor.
            long blocks = Math.min(warps, 16L * kernels.device().multiprocessors());
            kernels.call("merge_fingerprint" + (CudaKernels.aligned(tensor) ? "" : "_scalar"))
                    .pointer(prints + (long) i * Long.BYTES)
                    .tensor(tensor)
                    .i64(tensor.stride() * width)
                    .i64(tensor.rows())
                    .i64(tensor.cols() * width)
                    .launch(LaunchShape.of(blocks, THREADS));
        }
        return read(prints, tensors.size());
    }

    /** Waits for numbers of the device. */
    private long[] read(long from, int count) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment host = arena.allocate(ValueLayout.JAVA_LONG, count);
            kernels.stream().copyToHost(host.address(), from, host.byteSize());
            kernels.stream().synchronize();
            return host.toArray(ValueLayout.JAVA_LONG);
        }
    }
}
