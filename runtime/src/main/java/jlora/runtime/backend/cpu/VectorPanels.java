package jlora.runtime.backend.cpu;

import jdk.incubator.vector.FloatVector;

import jlora.runtime.backend.cpu.Products.Operand;
import jlora.runtime.tensor.DType;

import java.util.Arrays;

/**
 * Copies a block of an operand into panels: stretches of {@code width} rows (of a) or columns (of
 * b) that lie together for each step of the depth, as {@link VectorTile} reads them. Transposition
 * and widening of bf16 happen on the way. The last panel is filled up with zeros.
 */
final class VectorPanels {
    private static final int GROUP = 4;

    private final int width;
    private final int length;
    private final float[] panels;
    private final float[] stretch;

    /** Room for blocks of {@code depth} steps by {@code across} rows or columns. */
    VectorPanels(int width, int across, int depth) {
        this.width = width;
        this.panels = new float[(across + width - 1) / width * width * depth];
        this.length = VectorMath.padded(Math.max(across, depth));
        this.stretch = new float[GROUP * length];
    }

    float[] values() {
        return panels;
    }

    /** Where the panel with row or column {@code across} of the block starts. */
    int at(int across, int depth) {
        return across / width * width * depth;
    }

    /**
     * Packs {@code across} by {@code depth} elements from a corner of the operand.
     *
     * @param alongDepth true when the elements of one row or column follow each other in memory
     */
    void pack(
            Operand from,
            DType type,
            boolean alongDepth,
            long firstAcross,
            int across,
            long firstDepth,
            int depth) {
        int rest = across % width;
        if (rest != 0) {
            int last = at(across, depth);
            Arrays.fill(panels, last, last + width * depth, 0f);
        }
        if (alongDepth) {
            int i = 0;
            for (; i <= across - GROUP; i += GROUP) {
                for (int g = 0; g < GROUP; g++) {
                    load(from, type, firstAcross + i + g, firstDepth, depth, g * length);
                }
                scatter(i, depth);
            }
            for (; i < across; i++) {
                load(from, type, firstAcross + i, firstDepth, depth, 0);
                int at = place(i, depth);
                for (int p = 0; p < depth; p++) {
                    panels[at + p * width] = stretch[p];
                }
            }
        } else {
            for (int p = 0; p < depth; p++) {
                load(from, type, firstDepth + p, firstAcross, across, 0);
                spread(p, across, depth);
            }
        }
    }

    private void load(Operand from, DType type, long row, long col, int count, int to) {
        long element = row * from.leading() + col;
        long offset = from.byteOffset() + element * type.bytes();
        Rows.load(stretch, to, from.segment(), type, offset, count);
    }

    /** Adjacent rows or columns together: each cache line of a panel is written in few visits. */
    private void scatter(int i, int depth) {
        int to0 = place(i, depth);
        int to1 = place(i + 1, depth);
        int to2 = place(i + 2, depth);
        int to3 = place(i + 3, depth);
        for (int p = 0; p < depth; p++) {
            int step = p * width;
            panels[to0 + step] = stretch[p];
            panels[to1 + step] = stretch[length + p];
            panels[to2 + step] = stretch[2 * length + p];
            panels[to3 + step] = stretch[3 * length + p];
        }
    }

    private int place(int i, int depth) {
        return at(i, depth) + i % width;
    }

    private void spread(int p, int across, int depth) {
        int whole = across - across % width;
        if (width == VectorTile.WIDTH) {
            for (int i = 0; i < whole; i += width) {
                int to = i * depth + p * width;
                FloatVector.fromArray(VectorMath.FLOATS, stretch, i).intoArray(panels, to);
                FloatVector.fromArray(VectorMath.FLOATS, stretch, i + VectorMath.LANES)
                        .intoArray(panels, to + VectorMath.LANES);
            }
        } else {
            for (int i = 0; i < whole; i += width) {
                System.arraycopy(stretch, i, panels, i * depth + p * width, width);
            }
        }
        if (whole < across) {
            System.arraycopy(stretch, whole, panels, whole * depth + p * width, across - whole);
        }
    }
}
