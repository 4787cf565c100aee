package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.Fp8Kernel;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.random.RandomGenerator;

/**
 * A frozen weight [out, in] in FP8: quantised by pieces of rows, transposed, made whole, multiplied
 * by activations quantised before, forward and backward.
 */
public record Fp8Case(
        int tokens,
        int in,
        int out,
        Scaling scaling,
        DType dtype,
        boolean accumulate,
        Values values,
        Layout layout)
        implements OpCase<Fp8Kernel> {
    /** What the activations and the weight are filled with. */
    public enum Values {
        NORMAL {
            @Override
            double at(RandomGenerator random, long row, long col) {
                return random.nextGaussian();
            }
        },
        /** Codes from underflow to the largest, ties between codes, rows and columns of zeros. */
        WIDE {
            @Override
            double at(RandomGenerator random, long row, long col) {
                double sign = random.nextBoolean() ? 1 : -1;
                double tie = (8 + random.nextInt(8) + 0.5) * Math.scalb(1.0, random.nextInt(18));
                double value =
                        switch (random.nextInt(6)) {
                            case 0 -> tie;
                            case 1 -> random.nextInt(1 << 10) * 0x1p-9;
                            case 2 -> 1e-30;
                            case 3 -> 448 * 1024;
                            case 4 -> 0;
                            default -> 1e3 * random.nextGaussian();
                        };
                return row % 4 == 2 ? 0 : sign * value;
            }
        },
        /** So small that all of them share the least scale. */
        TINY {
            @Override
            double at(RandomGenerator random, long row, long col) {
                return random.nextGaussian() * 1e-33;
            }
        },
        /** A NaN in some rows, an infinity in others; the weight is as usual. */
        NOT_FINITE {
            @Override
            double at(RandomGenerator random, long row, long col) {
                double value = random.nextGaussian();
                if (row % 4 == 1 && col % 97 == 5) {
                    return Double.NaN;
                }
                return row % 4 == 2 && col % 97 == 5 ? value / 0.0 : value;
            }
        };

        abstract double at(RandomGenerator random, long row, long col);
    }

    /**
     * Rows of codes and of scales as the library wants them, and after them nothing that may be
     * touched.
     */
    private static final int GUARD = 128;

    public static List<OpCase<Fp8Kernel>> all() {
        List<OpCase<Fp8Kernel>> cases = new ArrayList<>();
        for (Scaling scaling : List.of(Scaling.ROW, Scaling.BLOCK)) {
            for (DType dtype : List.of(F32, BF16)) {
                cases.add(of(5, 172, 64, scaling, dtype, false, Values.NORMAL, Layout.ODD));
                cases.add(of(1, 1, 1, scaling, dtype, true, Values.NORMAL, Layout.DENSE));
                cases.add(of(16, 256, 144, scaling, dtype, true, Values.NORMAL, Layout.DENSE));
                cases.add(of(132, 144, 272, scaling, dtype, false, Values.NORMAL, Layout.PADDED));
                cases.add(of(24, 400, 160, scaling, dtype, true, Values.WIDE, Layout.PADDED));
                cases.add(of(7, 131, 129, scaling, dtype, true, Values.WIDE, Layout.ODD));
            }
            cases.add(of(8, 48, 32, scaling, F32, false, Values.TINY, Layout.DENSE));
            cases.add(of(8, 144, 32, scaling, F32, false, Values.NOT_FINITE, Layout.DENSE));
            cases.add(of(7, 150, 33, scaling, BF16, true, Values.NOT_FINITE, Layout.ODD));
        }
        return cases;
    }

    /** Llama-3.1-8B at 4096 tokens: q/k/v, gate/up and down. */
    public static List<OpCase<Fp8Kernel>> speed() {
        List<OpCase<Fp8Kernel>> cases = new ArrayList<>();
        int[][] shapes = {{4096, 6144}, {4096, 28672}, {14336, 4096}};
        for (Scaling scaling : List.of(Scaling.ROW, Scaling.BLOCK)) {
            for (int[] shape : shapes) {
                cases.add(
                        of(
                                4096,
                                shape[0],
                                shape[1],
                                scaling,
                                BF16,
                                true,
                                Values.NORMAL,
                                Layout.DENSE));
            }
        }
        return cases;
    }

    private static Fp8Case of(
            int tokens,
            int in,
            int out,
            Scaling scaling,
            DType dtype,
            boolean accumulate,
            Values values,
            Layout layout) {
        return new Fp8Case(tokens, in, out, scaling, dtype, accumulate, values, layout);
    }

    /** An FP8 matrix of a case. */
    private record Slots(Scaling scaling, Slot codes, Optional<Slot> scales) {
        static Slots of(Problem<Fp8Kernel> p, String name, int rows, int cols, Scaling scaling) {
            Tolerance exact =
                    Tolerance.exact("every f32 operation is part of the contract")
                            .orNaN("of what is not finite");
            // Fp8Matrix.allocate says how tensors lie; here each is a slot between guards.
            List<Slot> slots = new ArrayList<>();
            Fp8Matrix.allocate(
                    rows,
                    cols,
                    scaling,
                    (what, dtype, r, c) -> {
                        long used = what.equals("codes") ? cols : used(scaling, rows, cols);
                        Layout layout = new Layout(GUARD, (int) (c - used));
                        slots.add(p.output(name + "." + what, dtype, r, used, layout, exact));
                        return Tensor.dense(what, Storage.Role.WEIGHT, dtype, r, c);
                    });
            return new Slots(
                    scaling,
                    slots.getFirst(),
                    slots.size() > 1 ? Optional.of(slots.get(1)) : Optional.empty());
        }

        private static long used(Scaling scaling, int rows, int cols) {
            return scaling == Scaling.BLOCK ? Math.ceilDiv(cols, Fp8Matrix.BLOCK) : rows;
        }

        Fp8Matrix matrix(Function<Slot, Tensor> tensors) {
            return new Fp8Matrix(tensors.apply(codes), scaling, scales.map(tensors));
        }

        List<Slot> all() {
            List<Slot> all = new ArrayList<>(List.of(codes));
            scales.ifPresent(all::add);
            return all;
        }
    }

    private Tolerance products(int depth) {
        return LinearCase.products(dtype, depth)
                .plusRelative(
                        0x1p-10,
                        "tensor cores of Hopper keep about 14 bits of FP8 sums, 128 terms long")
                .orNaN("of rows that are not finite");
    }

    @Override
    public Problem<Fp8Kernel> problem() {
        var p = new Problem<Fp8Kernel>("fp8 " + this);
        Fill weights = values == Values.NOT_FINITE ? Fill.normal(1) : values::at;
        Slot source = p.input("source", dtype, out, in, layout, weights);
        Slot x = p.input("x", dtype, tokens, in, layout, values::at);
        Slot dy = p.input("dOut", dtype, tokens, out, layout, Fill.normal(0.1));
        Slots weight = Slots.of(p, "weight", out, in, scaling);
        Slots transposed = Slots.of(p, "transposed", in, out, scaling.ofTranspose());
        Slots xq = Slots.of(p, "x8", tokens, in, scaling.ofActivations());
        Slots dyq = Slots.of(p, "dOut8", tokens, out, scaling.ofActivations());
        Slot whole = p.output("whole", dtype, out, in, layout, Tolerance.exact("one f32 product"));
        Slot y = p.target("out", dtype, tokens, out, layout, accumulate, products(in));
        Slot dx = p.target("dx", dtype, tokens, in, layout, accumulate, products(out));
        p.pass(
                "quantizeWeight",
                0,
                List.of(source),
                weight.all(),
                (k, t) -> {
                    Fp8Matrix to = weight.matrix(t);
                    for (int row = 0; row < out; row += Fp8Matrix.BLOCK) {
                        int rows = Math.min(Fp8Matrix.BLOCK, out - row);
                        Tensor piece = t.apply(source).rows(row, rows);
                        k.quantize(to.rows(row, rows), piece, Optional.empty());
                    }
                });
        p.pass(
                "transpose",
                0,
                weight.all(),
                transposed.all(),
                (k, t) -> k.transpose(transposed.matrix(t), weight.matrix(t)));
        p.pass(
                "dequantize",
                0,
                weight.all(),
                List.of(whole),
                (k, t) -> k.dequantize(t.apply(whole), weight.matrix(t)));
        p.pass(
                "quantizeInput",
                0,
                List.of(x),
                xq.all(),
                (k, t) -> k.quantize(xq.matrix(t), t.apply(x), Optional.empty()));
        double flops = 2.0 * tokens * in * out;
        p.pass(
                "forward",
                flops,
                both(xq, weight),
                List.of(y),
                (k, t) -> k.multiply(t.apply(y), xq.matrix(t), weight.matrix(t), accumulate));
        boolean folded = scaling == Scaling.ROW;
        List<Slot> reads = new ArrayList<>(List.of(dy));
        if (folded) {
            reads.addAll(weight.scales().stream().toList());
        }
        p.pass(
                "quantizeGradient",
                0,
                reads,
                dyq.all(),
                (k, t) ->
                        k.quantize(
                                dyq.matrix(t),
                                t.apply(dy),
                                weight.scales().filter(_ -> folded).map(t)));
        p.pass(
                "backwardInput",
                flops,
                both(dyq, transposed),
                List.of(dx),
                (k, t) -> k.multiply(t.apply(dx), dyq.matrix(t), transposed.matrix(t), accumulate));
        return p;
    }

    private static List<Slot> both(Slots left, Slots right) {
        List<Slot> both = new ArrayList<>(left.all());
        both.addAll(right.all());
        return both;
    }
}
