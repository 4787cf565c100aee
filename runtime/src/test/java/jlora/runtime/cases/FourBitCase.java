package jlora.runtime.cases;

import static jlora.runtime.kernel.FourBitMatrix.Type.FP4;
import static jlora.runtime.kernel.FourBitMatrix.Type.NF4;
import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;
import static jlora.runtime.tensor.DType.U8;

import jlora.runtime.kernel.FourBitKernel;
import jlora.runtime.kernel.FourBitMatrix;
import jlora.runtime.kernel.FourBitTables;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.random.RandomGenerator;

/**
 * Matrices below each other, quantised and made whole again; and others, of codes that no weight
 * may have led to.
 *
 * @param dtype of what is quantised, and of what comes back
 * @param rows of each matrix
 * @param piece rows that are quantised at a time
 * @param aligned whether tensors begin at multiples of 16 bytes
 */
public record FourBitCase(
        FourBitMatrix.Type type,
        boolean nested,
        DType dtype,
        List<Integer> rows,
        int cols,
        int piece,
        boolean aligned,
        Values values)
        implements OpCase<FourBitKernel> {
    private static final int BLOCK = FourBitMatrix.BLOCK;

    /** What matrices hold. */
    public enum Values {
        /** A normal distribution, now and then ten times as wide. */
        WEIGHTS,
        /** Thresholds and their neighbours, in blocks whose scale is 1. */
        THRESHOLDS,
        /** Every other block is of zeros of both signs. */
        ZEROS,
        /** All blocks have the same scale, so that nothing remains for nested codes. */
        ONES,
        /** So small that 1/scale is not finite. */
        SUBNORMAL,
        /** Next to the largest number. */
        HUGE,
        /** A few NaN and infinities. */
        NOT_FINITE
    }

    public static List<OpCase<FourBitKernel>> all() {
        List<OpCase<FourBitKernel>> cases = new ArrayList<>();
        for (FourBitMatrix.Type type : FourBitMatrix.Type.values()) {
            for (boolean nested : new boolean[] {false, true}) {
                for (DType dtype : List.of(F32, BF16)) {
                    var given = new Given(type, nested, dtype, cases);
                    given.add(List.of(1), 1, 1, true, Values.WEIGHTS);
                    given.add(List.of(3), 5, 3, false, Values.WEIGHTS);
                    given.add(List.of(1), 200, 1, true, Values.WEIGHTS);
                    given.add(List.of(34, 2, 17), 172, 16, true, Values.WEIGHTS);
                    given.add(List.of(9, 30, 5), 64, 4, true, Values.WEIGHTS);
                    given.add(List.of(9, 30), 64, 4, false, Values.WEIGHTS);
                    given.add(List.of(130), 136, 130, true, Values.WEIGHTS);
                    given.add(List.of(20), 64, 20, true, Values.THRESHOLDS);
                    given.add(List.of(7), 192, 7, true, Values.ZEROS);
                }
            }
        }
        for (Values values :
                List.of(Values.ONES, Values.SUBNORMAL, Values.HUGE, Values.NOT_FINITE)) {
            for (boolean nested : new boolean[] {false, true}) {
                new Given(NF4, nested, F32, cases).add(List.of(7), 192, 7, true, values);
                new Given(FP4, nested, BF16, cases).add(List.of(7), 192, 7, true, values);
            }
        }
        // More scales than one block of the GPU sums.
        new Given(NF4, true, BF16, cases).add(List.of(517), 512, 517, true, Values.WEIGHTS);
        return cases;
    }

    private record Given(
            FourBitMatrix.Type type,
            boolean nested,
            DType dtype,
            List<OpCase<FourBitKernel>> cases) {
        void add(List<Integer> rows, int cols, int piece, boolean aligned, Values values) {
            cases.add(new FourBitCase(type, nested, dtype, rows, cols, piece, aligned, values));
        }
    }

    /** A projection of an 8B model. */
    public static List<OpCase<FourBitKernel>> speed() {
        List<OpCase<FourBitKernel>> cases = new ArrayList<>();
        for (boolean nested : new boolean[] {false, true}) {
            new Given(NF4, nested, BF16, cases)
                    .add(List.of(4096), 4096, 4096, true, Values.WEIGHTS);
        }
        return cases;
    }

    /** The tensors of one matrix. */
    private record Slots(
            int rows, Slot codes, Slot scales, Optional<Slot> nestedScales, Optional<Slot> offset) {
        List<Slot> all() {
            List<Slot> all = new ArrayList<>(List.of(codes));
            all.addAll(ofScales());
            return all;
        }

        List<Slot> ofScales() {
            List<Slot> slots = new ArrayList<>(List.of(scales));
            nestedScales.ifPresent(slots::add);
            offset.ifPresent(slots::add);
            return slots;
        }
    }

    @Override
    public Problem<FourBitKernel> problem() {
        var p = new Problem<FourBitKernel>("four_bit " + this);
        Tolerance exact = Tolerance.exact("the same f32 operations");
        Tolerance tolerance =
                values == Values.NOT_FINITE ? exact.orNaN("a block that holds NaN") : exact;
        List<Slots> matrices = new ArrayList<>();
        List<Slots> others = new ArrayList<>();
        List<Slot> whole = new ArrayList<>();
        List<Slot> absmax = new ArrayList<>();
        for (int i = 0; i < rows.size(); i++) {
            int height = rows.get(i);
            whole.add(p.input("W." + i, dtype, height, cols, dense(), this::value));
            matrices.add(quantized(p, "." + i, height, tolerance));
            absmax.add(
                    nested
                            ? p.output("absmax." + i, F32, 1, blocks(height), dense(), tolerance)
                            : matrices.get(i).scales());
            others.add(given(p, ".other." + i, height));
        }
        double elements = (double) total() * cols;
        p.pass(
                "quantize",
                4 * elements,
                whole,
                concat(matrices.stream().map(Slots::codes).toList(), absmax),
                (k, t) -> {
                    for (int i = 0; i < matrices.size(); i++) {
                        Tensor all = t.apply(whole.get(i));
                        FourBitMatrix matrix = matrix(matrices.get(i), t);
                        for (long row = 0; row < all.rows(); row += piece) {
                            Tensor some = all.rows(row, Math.min(piece, all.rows() - row));
                            k.quantize(matrix, t.apply(absmax.get(i)), row * cols / BLOCK, some);
                        }
                    }
                });
        if (nested) {
            p.pass(
                    "quantize scales",
                    4 * elements / BLOCK,
                    absmax,
                    matrices.stream().flatMap(m -> m.ofScales().stream()).toList(),
                    (k, t) -> {
                        for (int i = 0; i < matrices.size(); i++) {
                            k.quantizeScales(matrix(matrices.get(i), t), t.apply(absmax.get(i)));
                        }
                    });
        }
        dequantize(p, "dequantize", matrices, tolerance);
        dequantize(p, "dequantize any codes", others, exact);
        return p;
    }

    private void dequantize(
            Problem<FourBitKernel> p, String name, List<Slots> matrices, Tolerance tolerance) {
        Layout strided = aligned ? Layout.PADDED : Layout.ODD;
        Slot to = p.output(name + ".to", dtype, total(), cols, strided, tolerance);
        p.pass(
                name,
                (double) total() * cols,
                matrices.stream().flatMap(m -> m.all().stream()).toList(),
                List.of(to),
                (k, t) ->
                        k.dequantize(
                                t.apply(to), matrices.stream().map(m -> matrix(m, t)).toList()));
    }

    private Slots quantized(
            Problem<FourBitKernel> p, String name, int height, Tolerance tolerance) {
        long count = blocks(height);
        return new Slots(
                height,
                p.output("codes" + name, U8, 1, bytes(height), dense(), tolerance),
                p.output("scales" + name, nested ? U8 : F32, 1, count, dense(), tolerance),
                ofNested(
                        () -> p.output("nested" + name, F32, 1, groups(count), dense(), tolerance)),
                ofNested(() -> p.output("offset" + name, F32, 1, 1, dense(), tolerance)));
    }

    /** All codes, and all codes of scales where there are as many. */
    private Slots given(Problem<FourBitKernel> p, String name, int height) {
        long count = blocks(height);
        Fill scales = (random, row, col) -> nested ? col % 256 : random.nextGaussian();
        return new Slots(
                height,
                p.input(
                        "codes" + name,
                        U8,
                        1,
                        bytes(height),
                        dense(),
                        (random, row, col) -> random.nextInt(256)),
                p.input("scales" + name, nested ? U8 : F32, 1, count, dense(), scales),
                ofNested(
                        () ->
                                p.input(
                                        "nested" + name,
                                        F32,
                                        1,
                                        groups(count),
                                        dense(),
                                        Fill.uniform(0.01, 0.02))),
                ofNested(() -> p.input("offset" + name, F32, 1, 1, dense(), Fill.normal(0.07, 0))));
    }

    private Optional<Slot> ofNested(Supplier<Slot> slot) {
        return nested ? Optional.of(slot.get()) : Optional.empty();
    }

    private FourBitMatrix matrix(Slots slots, Function<Slot, Tensor> t) {
        return new FourBitMatrix(
                slots.rows(),
                cols,
                type,
                t.apply(slots.codes()),
                t.apply(slots.scales()),
                slots.nestedScales()
                        .map(
                                scales ->
                                        new FourBitMatrix.Nested(
                                                t.apply(scales),
                                                t.apply(slots.offset().orElseThrow()))));
    }

    private static <T> List<T> concat(List<T> first, List<T> second) {
        List<T> all = new ArrayList<>(first);
        all.addAll(second);
        return all;
    }

    private Layout dense() {
        return new Layout(aligned ? 128 : 7, 0);
    }

    private int total() {
        return rows.stream().mapToInt(Integer::intValue).sum();
    }

    private long bytes(int height) {
        return Math.ceilDiv((long) height * cols, 2L);
    }

    private long blocks(int height) {
        return FourBitMatrix.blocks((long) height * cols);
    }

    private static long groups(long blocks) {
        return Math.ceilDiv(blocks, (long) FourBitMatrix.SCALE_BLOCK);
    }

    private double value(RandomGenerator random, long row, long col) {
        long element = row * cols + col;
        double normal = random.nextGaussian();
        return switch (values) {
            case WEIGHTS -> 0.02 * normal * (random.nextInt(100) == 0 ? 10 : 1);
            case THRESHOLDS -> element % BLOCK == 0 ? 1 : threshold(random);
            case ZEROS -> element / BLOCK % 2 == 0 ? 0 * normal : normal;
            case ONES -> element % BLOCK == 0 ? 1 : Math.clamp(normal, -1, 1);
            case SUBNORMAL -> normal * 1e-40;
            case HUGE -> Math.clamp(normal, -3, 3) * 1e38;
            case NOT_FINITE ->
                    switch (random.nextInt(300)) {
                        case 0 -> Double.NaN;
                        case 1 -> Double.POSITIVE_INFINITY;
                        case 2 -> Double.NEGATIVE_INFINITY;
                        default -> normal;
                    };
        };
    }

    private double threshold(RandomGenerator random) {
        float[] thresholds = FourBitTables.thresholds(type);
        float threshold = thresholds[random.nextInt(thresholds.length)];
        threshold = random.nextBoolean() ? threshold : -threshold;
        return switch (random.nextInt(3)) {
            case 0 -> threshold;
            case 1 -> Math.nextUp(threshold);
            default -> Math.nextDown(threshold);
        };
    }
}
