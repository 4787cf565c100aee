package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

import jlora.runtime.tensor.DType;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * Products by the Vector API, for platforms without oneDNN: blocks of both operands are packed into
 * panels that stay in the caches while {@link VectorTile} runs over them (Goto and van de Geijn,
 * Anatomy of high-performance matrix multiplication, TOMS 2008). bf16 operands widen to f32.
 */
final class VectorProducts implements Products {
    private static final VectorSpecies<Float> FLOATS = VectorMath.FLOATS;
    private static final int LANES = VectorMath.LANES;
    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    /**
     * A panel of b, 32 columns deep so many steps, takes 32 KiB: it stays in the first-level cache.
     */
    private static final int DEPTH = 256;

    /** A block of a takes 240 KiB: it stays in the second-level cache. */
    private static final int ROWS = 240;

    private static final int COLS = 1024;

    private final ConcurrentLinkedQueue<Session> idle = new ConcurrentLinkedQueue<>();

    @Override
    public String describe() {
        return "Vector API products of " + FLOATS.vectorBitSize() + " bits";
    }

    @Override
    public boolean bf16IsFaster() {
        return false;
    }

    @Override
    public void multiply(Product p) {
        if (p.m() == 0 || p.n() == 0) {
            return;
        }
        Session session = idle.poll();
        if (session == null) {
            session = new Session();
        }
        try {
            if (p.result() == DType.F32) {
                for (int col = 0; col < p.n(); col += COLS) {
                    session.columns(
                            p, col, Math.min(COLS, p.n() - col), p.c(), col, p.accumulate());
                }
            } else {
                session.rounded(p);
            }
        } finally {
            idle.add(session);
        }
    }

    @Override
    public void close() {
        for (Session session; (session = idle.poll()) != null; ) {
            session.release();
        }
    }

    /** The scratch memory of one call at a time. */
    private static final class Session {
        private final VectorPanels a = new VectorPanels(VectorTile.HEIGHT, ROWS, DEPTH);
        private final VectorPanels b = new VectorPanels(VectorTile.WIDTH, COLS, DEPTH);
        private final float[] tile = new float[VectorTile.HEIGHT * VectorTile.WIDTH];
        private final float[] bias = new float[COLS];
        private final float[] row = new float[COLS];
        private final float[] old = new float[COLS];
        private Arena sumsOwner = Arena.ofShared();
        private MemorySegment sums = sumsOwner.allocate(64, 64);

        /**
         * Columns {@code col} and on of the product, to column {@code toCol} and on of f32 memory.
         */
        void columns(Product p, int col, int cols, Operand to, int toCol, boolean add) {
            boolean hasBias = p.bias().isPresent();
            if (hasBias) {
                Operand from = p.bias().get();
                long offset = from.byteOffset() + (long) col * p.type().bytes();
                Rows.load(bias, 0, from.segment(), p.type(), offset, cols);
            }
            int depthAt = 0;
            do {
                int depth = Math.min(DEPTH, p.k() - depthAt);
                b.pack(p.b(), p.type(), p.b().transposed(), col, cols, depthAt, depth);
                for (int rowAt = 0; rowAt < p.m(); rowAt += ROWS) {
                    int rows = Math.min(ROWS, p.m() - rowAt);
                    a.pack(p.a(), p.type(), !p.a().transposed(), rowAt, rows, depthAt, depth);
                    boolean adds = add || depthAt > 0;
                    float[] biases = hasBias && depthAt == 0 ? bias : null;
                    block(rows, cols, depth, p.alpha(), biases, to, rowAt, toCol, adds);
                }
                depthAt += depth;
            } while (depthAt < p.k());
        }

        private void block(
                int rows,
                int cols,
                int depth,
                float alpha,
                float[] biases,
                Operand to,
                int toRow,
                int toCol,
                boolean add) {
            for (int j = 0; j < cols; j += VectorTile.WIDTH) {
                int width = Math.min(VectorTile.WIDTH, cols - j);
                for (int i = 0; i < rows; i += VectorTile.HEIGHT) {
                    VectorTile.multiply(
                            a.values(),
                            a.at(i, depth),
                            b.values(),
                            b.at(j, depth),
                            depth,
                            width <= LANES,
                            tile);
                    int height = Math.min(VectorTile.HEIGHT, rows - i);
                    for (int r = 0; r < height; r++) {
                        long offset =
                                to.byteOffset() + 4 * ((toRow + i + r) * to.leading() + toCol + j);
                        store(
                                r * VectorTile.WIDTH,
                                width,
                                alpha,
                                biases,
                                j,
                                to.segment(),
                                offset,
                                add);
                    }
                }
            }
        }

        /** One row of a tile into the result. */
        private void store(
                int at,
                int width,
                float alpha,
                float[] biases,
                int biasAt,
                MemorySegment to,
                long offset,
                boolean add) {
            int i = 0;
            for (; i <= width - LANES; i += LANES) {
                FloatVector sum = FloatVector.fromArray(FLOATS, tile, at + i).mul(alpha);
                if (biases != null) {
                    sum = sum.add(FloatVector.fromArray(FLOATS, biases, biasAt + i));
                }
                if (add) {
                    sum =
                            sum.add(
                                    FloatVector.fromMemorySegment(
                                            FLOATS, to, offset + 4L * i, ORDER));
                }
                sum.intoMemorySegment(to, offset + 4L * i, ORDER);
            }
            for (; i < width; i++) {
                float sum = tile[at + i] * alpha;
                sum += biases == null ? 0f : biases[biasAt + i];
                sum += add ? to.get(FLOAT, offset + 4L * i) : 0f;
                to.set(FLOAT, offset + 4L * i, sum);
            }
        }

        /** A bf16 result: sums of some columns in f32, rounded when they are complete. */
        void rounded(Product p) {
            int most =
                    Math.min(
                            COLS,
                            Math.max(
                                    VectorTile.WIDTH,
                                    (1 << 18) / p.m() / VectorTile.WIDTH * VectorTile.WIDTH));
            reserve(4L * p.m() * Math.min(most, p.n()));
            for (int col = 0; col < p.n(); col += most) {
                int cols = Math.min(most, p.n() - col);
                columns(p, col, cols, new Operand(sums, 0, cols, false), 0, false);
                for (int r = 0; r < p.m(); r++) {
                    long offset = p.c().byteOffset() + 2 * (r * p.c().leading() + col);
                    Rows.load(row, 0, sums, DType.F32, 4L * r * cols, cols);
                    if (p.accumulate()) {
                        Rows.load(old, 0, p.c().segment(), DType.BF16, offset, cols);
                        Rows.add(row, 0, old, 0, cols);
                    }
                    Rows.store(p.c().segment(), DType.BF16, offset, row, 0, cols);
                }
            }
        }

        private void reserve(long bytes) {
            if (bytes > sums.byteSize()) {
                sumsOwner.close();
                sumsOwner = Arena.ofShared();
                sums = sumsOwner.allocate(bytes, 64);
            }
        }

        void release() {
            sumsOwner.close();
        }
    }
}
