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
    private final int width;
    private final float[] panels;
    private final float[] stretch;

    /** Room for blocks of {@code depth} steps by {@code across} rows or columns. */
    VectorPanels(int width, int across, int depth) {
        this.width = width;
        this.panels = new float[(across + width - 1) / width * width * depth];
        this.stretch = new float[VectorMath.padded(Math.max(across, depth))];
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
            for (int i = 0; i < across; i++) {
                long element = (firstAcross + i) * from.leading() + firstDepth;
                load(from, type, element, depth);
                scatter(at(i, depth) + i % width, depth);
            }
        } else {
            for (int p = 0; p < depth; p++) {
                long element = (firstDepth + p) * from.leading() + firstAcross;
                load(from, type, element, across);
                spread(p, across, depth);
            }
        }
    }

    private void load(Operand from, DType type, long element, int count) {
        Rows.load(
                stretch,
                0,
                from.segment(),
                type,
                from.byteOffset() + element * type.bytes(),
                count);
    }

    private void scatter(int at, int depth) {
        for (int p = 0; p < depth; p++) {
            panels[at + p * width] = stretch[p];
        }
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
        System.arraycopy(stretch, whole, panels, whole * depth + p * width, across - whole);
    }
}
