package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;
import static jlora.runtime.tensor.DType.I32;

import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.RopeKernel;
import jlora.runtime.tensor.DType;

import java.util.ArrayList;
import java.util.List;

/**
 * Rotary embedding of fused rows: its table, the rotation and the rotation back.
 *
 * @param farthest positions are drawn from 0 up to this one
 */
public record RopeCase(
        AttentionShape shape, int tokens, int farthest, float scaling, DType dtype, Layout layout)
        implements OpCase<RopeKernel> {
    private static final double BASE = 10_000;

    public static List<OpCase<RopeKernel>> all() {
        List<OpCase<RopeKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(new RopeCase(shape(1, 1, 2), 1, 0, 1, dtype, Layout.ODD));
            cases.add(new RopeCase(shape(3, 3, 6), 5, 10, 1, dtype, Layout.ODD));
            cases.add(new RopeCase(shape(4, 2, 8), 12, 512, 1, dtype, Layout.PADDED));
            cases.add(new RopeCase(shape(4, 1, 64), 9, 131_071, 1.25f, dtype, Layout.DENSE));
            cases.add(new RopeCase(shape(2, 2, 128), 7, 8191, 1, dtype, Layout.PADDED));
        }
        return cases;
    }

    /** A 0.5B Llama, 512 tokens. */
    public static List<OpCase<RopeKernel>> speed() {
        return List.of(
                new RopeCase(shape(14, 2, 64), 512, 511, 1, F32, Layout.PADDED),
                new RopeCase(shape(14, 2, 64), 512, 511, 1, BF16, Layout.PADDED));
    }

    private static AttentionShape shape(int heads, int kvHeads, int headDim) {
        return new AttentionShape(heads, kvHeads, headDim, 1, 0);
    }

    @Override
    public Problem<RopeKernel> problem() {
        var p = new Problem<RopeKernel>("rope " + this);
        int cols = shape.fusedCols();
        int size = shape.headDim();
        Tolerance tolerance = Tolerance.f32(dtype, 1);
        Slot positions =
                p.input("positions", I32, 1, tokens, Layout.ODD, Fill.indices(farthest + 1));
        Slot frequencies =
                p.input(
                        "inverseFrequencies",
                        F32,
                        1,
                        size / 2,
                        layout,
                        (random, r, i) -> Math.pow(BASE, -2.0 * i / size));
        Slot table = p.output("table", F32, tokens, size, layout, Tolerance.f32(F32, 1));
        Slot qkv = p.input("qkv", dtype, tokens, cols, layout, Fill.normal(1));
        Slot out = p.output("out", dtype, tokens, cols, layout, tolerance);
        Slot dOut = p.input("dOut", dtype, tokens, cols, layout, Fill.normal(1));
        Slot dQkv = p.output("dQkv", dtype, tokens, cols, layout, tolerance);
        double rotations = 3.0 * tokens * (shape.queryCols() + shape.keyCols());
        p.pass(
                "table",
                20.0 * tokens * size,
                List.of(positions, frequencies),
                List.of(table),
                (k, t) ->
                        k.table(t.apply(table), t.apply(positions), t.apply(frequencies), scaling));
        p.objective(
                p.pass(
                        "forward",
                        rotations,
                        List.of(qkv, table),
                        List.of(out),
                        (k, t) -> k.forward(t.apply(out), t.apply(qkv), t.apply(table), shape)));
        p.pass(
                "backward",
                rotations,
                List.of(dOut, table),
                List.of(dQkv),
                (k, t) -> k.backward(t.apply(dQkv), t.apply(dOut), t.apply(table), shape));
        p.cotangent(out, dOut);
        p.gradient(qkv, dQkv);
        return p;
    }
}
