package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.tensor.DType;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * Causal attention over packed sequences, and its gradient.
 *
 * @param lengths of the sequences
 * @param padding rows behind them that belong to none
 * @param masked every so many keys one is hidden, or none when 0; 1 hides all
 */
public record AttentionCase(
        AttentionShape shape,
        List<Integer> lengths,
        int padding,
        int masked,
        DType dtype,
        Layout layout)
        implements OpCase<AttentionKernel> {
    public static List<OpCase<AttentionKernel>> all() {
        List<OpCase<AttentionKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(of(shape(1, 1, 8, 0), List.of(1), 0, 0, dtype, Layout.DENSE));
            cases.add(of(shape(3, 3, 5, 0), List.of(11), 0, 0, dtype, Layout.ODD));
            cases.add(of(shape(3, 1, 5, 4), List.of(6, 0, 7), 3, 0, dtype, Layout.ODD));
            cases.add(of(shape(4, 2, 8, 0), List.of(0, 9, 1, 0), 2, 0, dtype, Layout.PADDED));
            cases.add(of(shape(4, 2, 8, 3), List.of(9, 5), 2, 3, dtype, Layout.DENSE));
            cases.add(of(shape(2, 1, 16, 1), List.of(9), 0, 2, dtype, Layout.DENSE));
            cases.add(of(shape(2, 2, 8, 0), List.of(5), 1, 1, dtype, Layout.DENSE));
            cases.add(of(shape(2, 2, 8, 0), List.of(), 4, 0, dtype, Layout.DENSE));
            cases.add(of(shape(2, 1, 64, 0), List.of(37, 20), 0, 0, dtype, Layout.PADDED));
            cases.add(of(shape(2, 1, 128, 0), List.of(35), 1, 5, dtype, Layout.DENSE));
            cases.add(of(shape(2, 1, 64, 40), List.of(150), 0, 0, dtype, Layout.DENSE));
        }
        // What a kernel by tiles of tensor cores may get wrong: head sizes that fill its tiles and
        // that do not, sequences that begin and end inside of them, groups of heads, windows
        // narrower and wider than a tile, keys hidden at any place.
        Layout dense = Layout.DENSE;
        Layout padded = Layout.PADDED;
        cases.add(of(shape(4, 4, 40, 0), List.of(65, 63, 1, 0, 3), 5, 0, BF16, dense));
        cases.add(of(shape(4, 1, 80, 20), List.of(70, 9), 0, 0, BF16, padded));
        cases.add(of(shape(2, 2, 96, 100), List.of(130, 31), 3, 0, BF16, dense));
        cases.add(of(shape(8, 1, 128, 0), List.of(129, 64, 7), 2, 0, BF16, padded));
        cases.add(of(shape(1, 1, 128, 64), List.of(5, 200), 0, 0, BF16, dense));
        cases.add(of(shape(2, 1, 256, 0), List.of(66, 20), 1, 7, BF16, dense));
        cases.add(of(shape(1, 1, 192, 30), List.of(70), 0, 0, BF16, dense));
        cases.add(of(shape(4, 1, 64, 0), List.of(140, 33), 70, 3, BF16, dense));
        cases.add(of(shape(2, 2, 64, 128), List.of(128, 128), 0, 0, BF16, dense));
        cases.add(of(shape(1, 1, 64, 1), List.of(0, 0, 97, 0), 0, 2, BF16, dense));
        // Beyond the tiles: heads wider than all of them, and a scale that turns the order around.
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(of(shape(2, 1, 264, 0), List.of(9), 1, 0, dtype, dense));
            AttentionShape turned = new AttentionShape(2, 1, 16, -0.25f, 0);
            cases.add(of(turned, List.of(35), 0, 0, dtype, dense));
        }
        // Scores far apart: the largest must be taken out before exponentials.
        AttentionShape sharp = new AttentionShape(2, 2, 8, 60, 0);
        cases.add(new AttentionCase(sharp, List.of(40), 0, 0, F32, Layout.DENSE));
        return cases;
    }

    /** GPT-2 (4 sequences of 256) and a 0.5B Llama (512). */
    public static List<OpCase<AttentionKernel>> speed() {
        List<OpCase<AttentionKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(
                    of(
                            shape(12, 12, 64, 0),
                            List.of(256, 256, 256, 256),
                            0,
                            0,
                            dtype,
                            Layout.PADDED));
            cases.add(of(shape(14, 2, 64, 0), List.of(512), 0, 0, dtype, Layout.PADDED));
        }
        return cases;
    }

    private static AttentionShape shape(int heads, int kvHeads, int headDim, int window) {
        return new AttentionShape(
                heads, kvHeads, headDim, (float) (1 / Math.sqrt(headDim)), window);
    }

    private static AttentionCase of(
            AttentionShape shape,
            List<Integer> lengths,
            int padding,
            int masked,
            DType dtype,
            Layout layout) {
        return new AttentionCase(shape, lengths, padding, masked, dtype, layout);
    }

    @Override
    public Problem<AttentionKernel> problem() {
        var p = new Problem<AttentionKernel>("attention " + this);
        int[] cuSeqlens = cumulative(lengths);
        int rows = cuSeqlens[lengths.size()] + padding;
        int[] mask = new int[rows];
        Arrays.setAll(mask, u -> masked > 0 && u % masked == masked - 1 ? 0 : 1);
        int longest = lengths.stream().mapToInt(Integer::intValue).max().orElse(0);
        // An error in a score is one in the exponent, so it weighs with the scores' size.
        double spread = Math.max(1, shape.scale() * Math.sqrt(shape.headDim()));
        Tolerance tolerance =
                Tolerance.rounding(dtype, dtype, longest + shape.headDim())
                        .times(1 + spread, "exponentials magnify errors of the scores");
        Slot qkv = p.input("qkv", dtype, rows, shape.fusedCols(), layout, Fill.normal(1));
        Slot cu = p.ints("cuSeqlens", cuSeqlens);
        Optional<Slot> keyMask =
                masked > 0 ? Optional.of(p.ints("keyMask", mask)) : Optional.empty();
        Slot out = p.output("out", dtype, rows, shape.queryCols(), layout, tolerance);
        Tolerance logarithm =
                Tolerance.f32(F32, longest + shape.headDim())
                        .times(1 + spread, "exponentials magnify errors of the scores")
                        .plusAbsolute(1e-6, "a logarithm near zero");
        Slot lse = p.output("lse", F32, rows, shape.heads(), layout, logarithm);
        Slot dOut = p.input("dOut", dtype, rows, shape.queryCols(), layout, Fill.normal(1));
        Slot dQkv = p.output("dQkv", dtype, rows, shape.fusedCols(), layout, gradients(tolerance));
        double pairs = 0;
        for (int length : lengths) {
            pairs += 0.5 * length * (length + 1.0);
        }
        double products = 2 * pairs * shape.queryCols();
        p.pass(
                "forward",
                2 * products,
                with(keyMask, qkv, cu),
                List.of(out, lse),
                (k, t) ->
                        k.forward(
                                t.apply(out),
                                t.apply(lse),
                                t.apply(qkv),
                                new PackedSequences(t.apply(cu), keyMask.map(t), longest),
                                shape));
        p.pass(
                "backward",
                5 * products,
                with(keyMask, dOut, out, lse, qkv, cu),
                List.of(dQkv),
                (k, t) ->
                        k.backward(
                                t.apply(dQkv),
                                t.apply(dOut),
                                t.apply(out),
                                t.apply(lse),
                                t.apply(qkv),
                                new PackedSequences(t.apply(cu), keyMask.map(t), longest),
                                shape));
        p.cotangent(out, dOut);
        if (shape.scale() <= 1) {
            p.gradient(qkv, dQkv);
        }
        return p;
    }

    /** Gradients of scores are differences of products of the head's size. */
    private Tolerance gradients(Tolerance tolerance) {
        return tolerance.times(2, "dP − mean(dP) cancels");
    }

    private static List<Slot> with(Optional<Slot> keyMask, Slot... reads) {
        List<Slot> all = new ArrayList<>(List.of(reads));
        keyMask.ifPresent(all::add);
        return all;
    }

    static int[] cumulative(List<Integer> lengths) {
        int[] cuSeqlens = new int[lengths.size() + 1];
        for (int i = 0; i < lengths.size(); i++) {
            cuSeqlens[i + 1] = cuSeqlens[i] + lengths.get(i);
        }
        return cuSeqlens;
    }
}
