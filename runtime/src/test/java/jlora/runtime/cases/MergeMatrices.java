package jlora.runtime.cases;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.reference.Elements;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/** A bordered weight in the memory of a backend, set and read through a copy on the host. */
public final class MergeMatrices implements AutoCloseable {
    /** No multiple of anything. */
    private static final int OUT = 150;

    private static final int IN = 530;
    private static final int RANK = 5;

    private final int out;
    private final int in;
    private final int rank;
    private final Backend memory;
    private final MemoryArena arena;
    private final MemoryArena image;
    private final Tensor whole;
    private final Tensor mirror;

    MergeMatrices(Backend memory, DType dtype, int pad) {
        this(memory, dtype, OUT, IN, RANK, pad);
    }

    /**
     * @param pad columns behind the border
     */
    public MergeMatrices(Backend memory, DType dtype, int out, int in, int rank, int pad) {
        this.memory = memory;
        this.out = out;
        this.in = in;
        this.rank = rank;
        whole = Tensor.padded("w", Storage.Role.WEIGHT, dtype, out + rank, in, rank + pad);
        mirror = Tensor.padded("w", Storage.Role.WEIGHT, dtype, out + rank, in, rank + pad);
        long bytes = MemoryArena.align(whole.storage().bytes());
        arena = memory.allocate("w", bytes);
        image = MemoryArena.host("w", bytes);
        arena.place(whole.storage(), 0);
        image.place(mirror.storage(), 0);
    }

    private Tensor w(Tensor of) {
        return of.rows(0, out);
    }

    private Tensor a(Tensor of) {
        return of.rows(out, rank);
    }

    private Tensor b(Tensor of) {
        return w(of).columns(in, rank);
    }

    /** Where the kernels see it. */
    public MergeKernel.Part part() {
        return new MergeKernel.Part(w(whole), a(whole), b(whole));
    }

    Tensor w() {
        return w(mirror);
    }

    Tensor a() {
        return a(mirror);
    }

    Tensor b() {
        return b(mirror);
    }

    /** Some elements are zeros of either sign, the others normal. */
    static void set(Tensor to, SplittableRandom random, double sigma) {
        for (int r = 0; r < to.rows(); r++) {
            for (int c = 0; c < to.cols(); c++) {
                double value =
                        switch (random.nextInt(16)) {
                            case 0 -> 0.0;
                            case 1 -> -0.0;
                            default -> sigma * random.nextGaussian();
                        };
                Elements.set(to, r, c, (float) value);
            }
        }
    }

    void setFactors(SplittableRandom random, double delta) {
        double factor = Math.sqrt(delta / Math.sqrt(rank));
        set(a(), random, factor);
        set(b(), random, factor);
    }

    /** Normal weights, and factors whose product has this deviation. */
    public void fillNormal(long seed, double weight, double delta) {
        SplittableRandom random = new SplittableRandom(seed);
        double factor = Math.sqrt(delta / Math.sqrt(rank));
        for (Tensor to : new Tensor[] {w(), a(), b()}) {
            double sigma = to.rows() == out && to.cols() == in ? weight : factor;
            for (int r = 0; r < to.rows(); r++) {
                for (int c = 0; c < to.cols(); c++) {
                    Elements.set(to, r, c, (float) (sigma * random.nextGaussian()));
                }
            }
        }
        upload();
    }

    /** Sends the host's copy. */
    public void upload() {
        memory.upload(raw(whole), image.segment().asSlice(0, mirror.storage().bytes()));
    }

    /** Every byte as the backend has it now. */
    public byte[] bytes() {
        memory.synchronize();
        byte[] all = new byte[Math.toIntExact(whole.storage().bytes())];
        memory.download(MemorySegment.ofArray(all), raw(whole));
        return all;
    }

    private static Tensor raw(Tensor of) {
        long cols = of.stride();
        return new Tensor("raw", of.storage(), of.dtype(), of.rows(), cols, 0, cols);
    }

    /** Changes a byte of W on the host. */
    void flip(long row, long at, int bits) {
        long offset = w().byteOffset(row) + at;
        byte was = mirror.segment().get(ValueLayout.JAVA_BYTE, offset);
        mirror.segment().set(ValueLayout.JAVA_BYTE, offset, (byte) (was ^ bits));
    }

    @Override
    public void close() {
        arena.close();
        image.close();
    }
}
