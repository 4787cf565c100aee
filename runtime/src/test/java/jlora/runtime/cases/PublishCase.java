package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.PublishKernel;
import jlora.runtime.tensor.DType;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.random.RandomGenerator;

/** Masters of an adapter copied into the borders of so many weights [out + rank, in + rank]. */
public record PublishCase(int weights, int in, int out, int rank, float scale, DType dtype)
        implements OpCase<PublishKernel> {
    public static List<OpCase<PublishKernel>> all() {
        List<OpCase<PublishKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(new PublishCase(0, 1, 1, 1, 1, dtype));
            cases.add(new PublishCase(1, 1, 1, 1, 2, dtype));
            cases.add(new PublishCase(3, 13, 7, 5, 0.5f, dtype));
            cases.add(new PublishCase(2, 64, 48, 16, 2, dtype));
            cases.add(new PublishCase(2, 64, 48, 16, 0.3f, dtype));
            cases.add(new PublishCase(1, 1100, 1000, 16, 2, dtype));
        }
        return cases;
    }

    /** Rank 8 on c_attn in GPT-2. */
    public static List<OpCase<PublishKernel>> speed() {
        return List.of(
                new PublishCase(12, 768, 2304, 16, 2, F32),
                new PublishCase(12, 768, 2304, 16, 2, BF16));
    }

    @Override
    public Problem<PublishKernel> problem() {
        var p = new Problem<PublishKernel>("publish " + this);
        boolean powerOfTwo = Math.scalb(1.0f, Math.getExponent(scale)) == scale;
        Tolerance tolerance =
                powerOfTwo || dtype == F32
                        ? Tolerance.exact("the product is exact, or rounded once")
                        : Tolerance.f32(dtype, 1);
        List<Slot> from = new ArrayList<>();
        List<Slot> to = new ArrayList<>();
        Layout border = new Layout(64, rank);
        for (int i = 0; i < weights; i++) {
            Slot w0 = p.input("W0." + i, dtype, out, in, border, Fill.normal(1));
            Slot tall = p.scratch("weight." + i, dtype, out + rank, in, border);
            from.add(p.input("A." + i, F32, rank, in, Layout.DENSE, PublishCase::value));
            to.add(p.block("borderA." + i, tall, out, rank, 0, in, none(), Optional.of(tolerance)));
            from.add(p.input("B." + i, F32, out, rank, Layout.ODD, PublishCase::value));
            to.add(p.block("borderB." + i, w0, 0, out, in, rank, none(), Optional.of(tolerance)));
        }
        p.pass(
                "publish",
                2.0 * weights * rank * (in + out),
                from,
                to,
                (k, t) -> {
                    List<PublishKernel.Copy> copies = new ArrayList<>();
                    for (int i = 0; i < from.size(); i++) {
                        float factor = i % 2 == 0 ? 1 : scale;
                        copies.add(
                                new PublishKernel.Copy(
                                        t.apply(to.get(i)), t.apply(from.get(i)), factor));
                    }
                    k.publish(copies);
                });
        return p;
    }

    private static Optional<Fill> none() {
        return Optional.empty();
    }

    /**
     * Ordinary numbers, and what rounding to bf16 may get wrong: ties, carries, tiny and huge
     * numbers.
     */
    private static double value(RandomGenerator random, long row, long col) {
        double sign = random.nextBoolean() ? 1 : -1;
        return sign
                * switch (random.nextInt(8)) {
                    case 0 -> 1 + random.nextInt(128) * 0x1p-7 + 0x1p-8;
                    case 1 -> 1 + random.nextInt(128) * 0x1p-7 + 0x1p-8 + 0x1p-23;
                    case 2 -> 2 - 0x1p-23;
                    case 3 -> random.nextInt(1 << 20) * Float.MIN_VALUE;
                    case 4 -> 1e37 * random.nextDouble();
                    case 5 -> 0;
                    default -> random.nextGaussian();
                };
    }
}
