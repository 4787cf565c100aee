package jlora.runtime.backend.cpu;

import jlora.runtime.backend.cpu.Products.Operand;
import jlora.runtime.kernel.Fp8Kernel;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;

/**
 * {@link Fp8Kernel} by f32 products of tiles: a thread decodes a panel of either matrix, scales
 * included, multiplies the two and goes on along K. Tiles depend on the shape alone, and so do the
 * bits; no more than {@link #SCRATCH_FLOATS} of a matrix are decoded at a time by a thread.
 */
final class CpuFp8 implements Fp8Kernel {
    private static final int TILE_ROWS = 256;
    private static final int TILE_COLS = 256;

    /** Columns of a panel: whole blocks of scales. */
    private static final int DEPTH = 1024;

    private static final int LEFT = 0;
    private static final int RIGHT = TILE_ROWS * DEPTH;
    private static final int SUMS = RIGHT + TILE_COLS * DEPTH;

    /** Of one thread: two panels and their product. */
    private static final int SCRATCH_FLOATS = SUMS + TILE_ROWS * TILE_COLS;

    private final CpuPool pool;
    private final Products products;
    private final MemorySegment[] scratch;

    CpuFp8(CpuPool pool, Products products) {
        this.pool = pool;
        this.products = products;
        this.scratch = new MemorySegment[pool.threads()];
    }

    @Override
    public void requireProducts(Scaling weights) {}

    @Override
    public void quantize(Fp8Matrix to, Tensor from, Optional<Tensor> factors) {
        int down = to.scaling() == Scaling.BLOCK ? Fp8Matrix.BLOCK : 1;
        int cols = Math.toIntExact(to.cols());
        int across = to.scaling() == Scaling.ROW ? cols : Fp8Matrix.BLOCK;
        float[] columnFactors = new float[VectorMath.padded(cols)];
        factors.ifPresent(f -> Rows.load(columnFactors, 0, f, 0));
        Optional<float[]> each = factors.map(f -> columnFactors);
        pool.run(
                Math.ceilDiv(to.rows(), (long) down),
                Rows.grain((long) down * cols),
                (part, first, end) -> {
                    E4m3Group group = new E4m3Group(down, across);
                    for (long row = first * down; row < Math.min(to.rows(), end * down); ) {
                        int rows = (int) Math.min(down, to.rows() - row);
                        for (int col = 0; col < cols; col += across) {
                            int count = Math.min(across, cols - col);
                            float scale = group.read(from, row, rows, col, count, each);
                            group.write(to.codes());
                            setScale(to, row, col, scale);
                        }
                        row += rows;
                    }
                });
    }

    private static void setScale(Fp8Matrix to, long row, long col, float scale) {
        Tensor scales = to.scales().orElseThrow();
        switch (to.scaling()) {
            case NONE -> throw new IllegalArgumentException(to + " has no scales to quantise by");
            case ROW -> Rows.setF32(scales, 0, row, scale);
            case PIECE -> Rows.setF32(scales, col / Fp8Matrix.BLOCK, row, scale);
            case BLOCK -> Rows.setF32(scales, row / Fp8Matrix.BLOCK, col / Fp8Matrix.BLOCK, scale);
        }
    }

    @Override
    public void transpose(Fp8Matrix to, Fp8Matrix from) {
        ByteTranspose.run(pool, to.codes(), from.codes());
        if (from.scaling() == Scaling.BLOCK) {
            Tensor scales = from.scales().orElseThrow();
            for (long r = 0; r < scales.rows(); r++) {
                for (long c = 0; c < scales.cols(); c++) {
                    Rows.setF32(to.scales().orElseThrow(), c, r, Rows.f32(scales, r, c));
                }
            }
        }
    }

    @Override
    public void multiply(Tensor out, Fp8Matrix x, Fp8Matrix weight, boolean accumulate) {
        Fp8Matrix.checkProduct(out, x, weight);
        int down = Math.toIntExact(Math.ceilDiv(out.rows(), (long) TILE_ROWS));
        int across = Math.toIntExact(Math.ceilDiv(out.cols(), (long) TILE_COLS));
        pool.tasks(
                down * across,
                (part, task) -> {
                    long row = (long) (task % down) * TILE_ROWS;
                    long col = (long) (task / down) * TILE_COLS;
                    int rows = (int) Math.min(TILE_ROWS, out.rows() - row);
                    int cols = (int) Math.min(TILE_COLS, out.cols() - col);
                    MemorySegment floats = scratch(part);
                    multiply(floats, x, row, rows, weight, col, cols);
                    store(out, row, rows, col, cols, floats, accumulate);
                });
    }

    private void multiply(
            MemorySegment floats,
            Fp8Matrix x,
            long row,
            int rows,
            Fp8Matrix weight,
            long col,
            int cols) {
        E4m3Decoder decoder = new E4m3Decoder(DEPTH);
        Operand sums = operand(floats, SUMS, cols, false);
        floats.asSlice(4L * SUMS, 4L * rows * cols).fill((byte) 0);
        for (long k = 0; k < x.cols(); k += DEPTH) {
            int depth = (int) Math.min(DEPTH, x.cols() - k);
            for (int r = 0; r < rows; r++) {
                decoder.decode(x, row + r, k, depth);
                copy(decoder.values(), floats, LEFT + r * depth, depth);
            }
            for (int c = 0; c < cols; c++) {
                decoder.decode(weight, col + c, k, depth);
                copy(decoder.values(), floats, RIGHT + c * depth, depth);
            }
            products.f32(
                    rows,
                    cols,
                    depth,
                    1,
                    operand(floats, LEFT, depth, false),
                    operand(floats, RIGHT, depth, true),
                    1,
                    sums);
        }
    }

    private static void copy(float[] from, MemorySegment to, int at, int count) {
        MemorySegment.copy(from, 0, to, ValueLayout.JAVA_FLOAT, 4L * at, count);
    }

    private static Operand operand(MemorySegment floats, int at, int cols, boolean transposed) {
        return new Operand(floats, 4L * at, cols, transposed);
    }

    private static void store(
            Tensor out,
            long row,
            int rows,
            long col,
            int cols,
            MemorySegment floats,
            boolean accumulate) {
        float[] sums = new float[VectorMath.padded(cols)];
        float[] before = new float[sums.length];
        for (int r = 0; r < rows; r++) {
            Rows.load(sums, 0, floats, DType.F32, 4L * (SUMS + r * cols), cols);
            if (accumulate) {
                Rows.load(before, 0, out, row + r, col, cols);
                Rows.add(sums, 0, before, 0, cols);
            }
            Rows.store(out, row + r, col, sums, 0, cols);
        }
    }

    private MemorySegment scratch(int part) {
        if (scratch[part] == null) {
            scratch[part] = Arena.ofAuto().allocate(4L * SCRATCH_FLOATS, 64);
        }
        return scratch[part];
    }

    @Override
    public void dequantize(Tensor to, Fp8Matrix from) {
        pool.run(
                from.rows(),
                Rows.grain(from.cols()),
                (part, first, end) -> {
                    E4m3Decoder decoder = new E4m3Decoder(DEPTH);
                    for (long row = first; row < end; row++) {
                        for (long col = 0; col < from.cols(); col += DEPTH) {
                            int count = (int) Math.min(DEPTH, from.cols() - col);
                            decoder.decode(from, row, col, count);
                            Rows.store(to, row, col, decoder.values(), 0, count);
                        }
                    }
                });
    }
}
