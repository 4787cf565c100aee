package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/**
 * The innermost loop of {@link VectorProducts}: a tile of a product from packed panels, with every
 * sum in a register. The tile's height follows the register file: 12 rows of two vectors need 27
 * registers (AVX-512 and NEON have 32), 6 rows 15 (AVX2 has 16). Written out because the compiler
 * keeps an array of vectors in memory.
 */
final class VectorTile {
    private static final VectorSpecies<Float> FLOATS = VectorMath.FLOATS;
    private static final int LANES = VectorMath.LANES;

    /** Rows of a tile. */
    static final int HEIGHT = FLOATS.vectorBitSize() == 256 ? 6 : 12;

    /** Columns of a tile. */
    static final int WIDTH = 2 * LANES;

    private VectorTile() {}

    /**
     * tile[HEIGHT, WIDTH] = the product of a panel [depth, HEIGHT] of a and a panel [depth, WIDTH]
     * of b; only the left half of the tile when {@code narrow}.
     */
    static void multiply(
            float[] a, int aAt, float[] b, int bAt, int depth, boolean narrow, float[] tile) {
        if (HEIGHT == 12) {
            if (narrow) {
                narrow12(a, aAt, b, bAt, depth, tile);
            } else {
                full12(a, aAt, b, bAt, depth, tile);
            }
        } else if (narrow) {
            narrow6(a, aAt, b, bAt, depth, tile);
        } else {
            full6(a, aAt, b, bAt, depth, tile);
        }
    }

    /** 12 rows, two vectors wide. */
    private static void full12(float[] a, int aAt, float[] b, int bAt, int depth, float[] tile) {
        FloatVector zero = FloatVector.zero(FLOATS);
        FloatVector c0a = zero;
        FloatVector c0b = zero;
        FloatVector c1a = zero;
        FloatVector c1b = zero;
        FloatVector c2a = zero;
        FloatVector c2b = zero;
        FloatVector c3a = zero;
        FloatVector c3b = zero;
        FloatVector c4a = zero;
        FloatVector c4b = zero;
        FloatVector c5a = zero;
        FloatVector c5b = zero;
        FloatVector c6a = zero;
        FloatVector c6b = zero;
        FloatVector c7a = zero;
        FloatVector c7b = zero;
        FloatVector c8a = zero;
        FloatVector c8b = zero;
        FloatVector c9a = zero;
        FloatVector c9b = zero;
        FloatVector c10a = zero;
        FloatVector c10b = zero;
        FloatVector c11a = zero;
        FloatVector c11b = zero;
        for (int p = 0; p < depth; p++) {
            FloatVector x = FloatVector.fromArray(FLOATS, b, bAt + p * WIDTH);
            FloatVector y = FloatVector.fromArray(FLOATS, b, bAt + p * WIDTH + LANES);
            int at = aAt + p * 12;
            FloatVector a0 = FloatVector.broadcast(FLOATS, a[at]);
            c0a = a0.fma(x, c0a);
            c0b = a0.fma(y, c0b);
            FloatVector a1 = FloatVector.broadcast(FLOATS, a[at + 1]);
            c1a = a1.fma(x, c1a);
            c1b = a1.fma(y, c1b);
            FloatVector a2 = FloatVector.broadcast(FLOATS, a[at + 2]);
            c2a = a2.fma(x, c2a);
            c2b = a2.fma(y, c2b);
            FloatVector a3 = FloatVector.broadcast(FLOATS, a[at + 3]);
            c3a = a3.fma(x, c3a);
            c3b = a3.fma(y, c3b);
            FloatVector a4 = FloatVector.broadcast(FLOATS, a[at + 4]);
            c4a = a4.fma(x, c4a);
            c4b = a4.fma(y, c4b);
            FloatVector a5 = FloatVector.broadcast(FLOATS, a[at + 5]);
            c5a = a5.fma(x, c5a);
            c5b = a5.fma(y, c5b);
            FloatVector a6 = FloatVector.broadcast(FLOATS, a[at + 6]);
            c6a = a6.fma(x, c6a);
            c6b = a6.fma(y, c6b);
            FloatVector a7 = FloatVector.broadcast(FLOATS, a[at + 7]);
            c7a = a7.fma(x, c7a);
            c7b = a7.fma(y, c7b);
            FloatVector a8 = FloatVector.broadcast(FLOATS, a[at + 8]);
            c8a = a8.fma(x, c8a);
            c8b = a8.fma(y, c8b);
            FloatVector a9 = FloatVector.broadcast(FLOATS, a[at + 9]);
            c9a = a9.fma(x, c9a);
            c9b = a9.fma(y, c9b);
            FloatVector a10 = FloatVector.broadcast(FLOATS, a[at + 10]);
            c10a = a10.fma(x, c10a);
            c10b = a10.fma(y, c10b);
            FloatVector a11 = FloatVector.broadcast(FLOATS, a[at + 11]);
            c11a = a11.fma(x, c11a);
            c11b = a11.fma(y, c11b);
        }
        c0a.intoArray(tile, 0);
        c0b.intoArray(tile, LANES);
        c1a.intoArray(tile, 1 * WIDTH);
        c1b.intoArray(tile, 1 * WIDTH + LANES);
        c2a.intoArray(tile, 2 * WIDTH);
        c2b.intoArray(tile, 2 * WIDTH + LANES);
        c3a.intoArray(tile, 3 * WIDTH);
        c3b.intoArray(tile, 3 * WIDTH + LANES);
        c4a.intoArray(tile, 4 * WIDTH);
        c4b.intoArray(tile, 4 * WIDTH + LANES);
        c5a.intoArray(tile, 5 * WIDTH);
        c5b.intoArray(tile, 5 * WIDTH + LANES);
        c6a.intoArray(tile, 6 * WIDTH);
        c6b.intoArray(tile, 6 * WIDTH + LANES);
        c7a.intoArray(tile, 7 * WIDTH);
        c7b.intoArray(tile, 7 * WIDTH + LANES);
        c8a.intoArray(tile, 8 * WIDTH);
        c8b.intoArray(tile, 8 * WIDTH + LANES);
        c9a.intoArray(tile, 9 * WIDTH);
        c9b.intoArray(tile, 9 * WIDTH + LANES);
        c10a.intoArray(tile, 10 * WIDTH);
        c10b.intoArray(tile, 10 * WIDTH + LANES);
        c11a.intoArray(tile, 11 * WIDTH);
        c11b.intoArray(tile, 11 * WIDTH + LANES);
    }

    /** 12 rows, one vector wide. */
    private static void narrow12(float[] a, int aAt, float[] b, int bAt, int depth, float[] tile) {
        FloatVector zero = FloatVector.zero(FLOATS);
        FloatVector c0a = zero;
        FloatVector c1a = zero;
        FloatVector c2a = zero;
        FloatVector c3a = zero;
        FloatVector c4a = zero;
        FloatVector c5a = zero;
        FloatVector c6a = zero;
        FloatVector c7a = zero;
        FloatVector c8a = zero;
        FloatVector c9a = zero;
        FloatVector c10a = zero;
        FloatVector c11a = zero;
        for (int p = 0; p < depth; p++) {
            FloatVector x = FloatVector.fromArray(FLOATS, b, bAt + p * WIDTH);
            int at = aAt + p * 12;
            FloatVector a0 = FloatVector.broadcast(FLOATS, a[at]);
            c0a = a0.fma(x, c0a);
            FloatVector a1 = FloatVector.broadcast(FLOATS, a[at + 1]);
            c1a = a1.fma(x, c1a);
            FloatVector a2 = FloatVector.broadcast(FLOATS, a[at + 2]);
            c2a = a2.fma(x, c2a);
            FloatVector a3 = FloatVector.broadcast(FLOATS, a[at + 3]);
            c3a = a3.fma(x, c3a);
            FloatVector a4 = FloatVector.broadcast(FLOATS, a[at + 4]);
            c4a = a4.fma(x, c4a);
            FloatVector a5 = FloatVector.broadcast(FLOATS, a[at + 5]);
            c5a = a5.fma(x, c5a);
            FloatVector a6 = FloatVector.broadcast(FLOATS, a[at + 6]);
            c6a = a6.fma(x, c6a);
            FloatVector a7 = FloatVector.broadcast(FLOATS, a[at + 7]);
            c7a = a7.fma(x, c7a);
            FloatVector a8 = FloatVector.broadcast(FLOATS, a[at + 8]);
            c8a = a8.fma(x, c8a);
            FloatVector a9 = FloatVector.broadcast(FLOATS, a[at + 9]);
            c9a = a9.fma(x, c9a);
            FloatVector a10 = FloatVector.broadcast(FLOATS, a[at + 10]);
            c10a = a10.fma(x, c10a);
            FloatVector a11 = FloatVector.broadcast(FLOATS, a[at + 11]);
            c11a = a11.fma(x, c11a);
        }
        c0a.intoArray(tile, 0);
        c1a.intoArray(tile, 1 * WIDTH);
        c2a.intoArray(tile, 2 * WIDTH);
        c3a.intoArray(tile, 3 * WIDTH);
        c4a.intoArray(tile, 4 * WIDTH);
        c5a.intoArray(tile, 5 * WIDTH);
        c6a.intoArray(tile, 6 * WIDTH);
        c7a.intoArray(tile, 7 * WIDTH);
        c8a.intoArray(tile, 8 * WIDTH);
        c9a.intoArray(tile, 9 * WIDTH);
        c10a.intoArray(tile, 10 * WIDTH);
        c11a.intoArray(tile, 11 * WIDTH);
    }

    /** 6 rows, two vectors wide. */
    private static void full6(float[] a, int aAt, float[] b, int bAt, int depth, float[] tile) {
        FloatVector zero = FloatVector.zero(FLOATS);
        FloatVector c0a = zero;
        FloatVector c0b = zero;
        FloatVector c1a = zero;
        FloatVector c1b = zero;
        FloatVector c2a = zero;
        FloatVector c2b = zero;
        FloatVector c3a = zero;
        FloatVector c3b = zero;
        FloatVector c4a = zero;
        FloatVector c4b = zero;
        FloatVector c5a = zero;
        FloatVector c5b = zero;
        for (int p = 0; p < depth; p++) {
            FloatVector x = FloatVector.fromArray(FLOATS, b, bAt + p * WIDTH);
            FloatVector y = FloatVector.fromArray(FLOATS, b, bAt + p * WIDTH + LANES);
            int at = aAt + p * 6;
            FloatVector a0 = FloatVector.broadcast(FLOATS, a[at]);
            c0a = a0.fma(x, c0a);
            c0b = a0.fma(y, c0b);
            FloatVector a1 = FloatVector.broadcast(FLOATS, a[at + 1]);
            c1a = a1.fma(x, c1a);
            c1b = a1.fma(y, c1b);
            FloatVector a2 = FloatVector.broadcast(FLOATS, a[at + 2]);
            c2a = a2.fma(x, c2a);
            c2b = a2.fma(y, c2b);
            FloatVector a3 = FloatVector.broadcast(FLOATS, a[at + 3]);
            c3a = a3.fma(x, c3a);
            c3b = a3.fma(y, c3b);
            FloatVector a4 = FloatVector.broadcast(FLOATS, a[at + 4]);
            c4a = a4.fma(x, c4a);
            c4b = a4.fma(y, c4b);
            FloatVector a5 = FloatVector.broadcast(FLOATS, a[at + 5]);
            c5a = a5.fma(x, c5a);
            c5b = a5.fma(y, c5b);
        }
        c0a.intoArray(tile, 0);
        c0b.intoArray(tile, LANES);
        c1a.intoArray(tile, 1 * WIDTH);
        c1b.intoArray(tile, 1 * WIDTH + LANES);
        c2a.intoArray(tile, 2 * WIDTH);
        c2b.intoArray(tile, 2 * WIDTH + LANES);
        c3a.intoArray(tile, 3 * WIDTH);
        c3b.intoArray(tile, 3 * WIDTH + LANES);
        c4a.intoArray(tile, 4 * WIDTH);
        c4b.intoArray(tile, 4 * WIDTH + LANES);
        c5a.intoArray(tile, 5 * WIDTH);
        c5b.intoArray(tile, 5 * WIDTH + LANES);
    }

    /** 6 rows, one vector wide. */
    private static void narrow6(float[] a, int aAt, float[] b, int bAt, int depth, float[] tile) {
        FloatVector zero = FloatVector.zero(FLOATS);
        FloatVector c0a = zero;
        FloatVector c1a = zero;
        FloatVector c2a = zero;
        FloatVector c3a = zero;
        FloatVector c4a = zero;
        FloatVector c5a = zero;
        for (int p = 0; p < depth; p++) {
            FloatVector x = FloatVector.fromArray(FLOATS, b, bAt + p * WIDTH);
            int at = aAt + p * 6;
            FloatVector a0 = FloatVector.broadcast(FLOATS, a[at]);
            c0a = a0.fma(x, c0a);
            FloatVector a1 = FloatVector.broadcast(FLOATS, a[at + 1]);
            c1a = a1.fma(x, c1a);
            FloatVector a2 = FloatVector.broadcast(FLOATS, a[at + 2]);
            c2a = a2.fma(x, c2a);
            FloatVector a3 = FloatVector.broadcast(FLOATS, a[at + 3]);
            c3a = a3.fma(x, c3a);
            FloatVector a4 = FloatVector.broadcast(FLOATS, a[at + 4]);
            c4a = a4.fma(x, c4a);
            FloatVector a5 = FloatVector.broadcast(FLOATS, a[at + 5]);
            c5a = a5.fma(x, c5a);
        }
        c0a.intoArray(tile, 0);
        c1a.intoArray(tile, 1 * WIDTH);
        c2a.intoArray(tile, 2 * WIDTH);
        c3a.intoArray(tile, 3 * WIDTH);
        c4a.intoArray(tile, 4 * WIDTH);
        c5a.intoArray(tile, 5 * WIDTH);
    }
}
