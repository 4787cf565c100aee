package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.DropoutKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;

import java.util.ArrayList;
import java.util.List;

/**
 * Dropout and its gradient; rows whose length is no multiple of four share words with their
 * neighbours.
 */
public record DropoutCase(
        int tokens,
        int cols,
        float p,
        long seed,
        int microBatch,
        int stream,
        DType dtype,
        boolean accumulate,
        Layout layout)
        implements OpCase<DropoutKernel> {
    public static List<OpCase<DropoutKernel>> all() {
        List<OpCase<DropoutKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            cases.add(new DropoutCase(1, 1, 0.5f, 0, 0, 0, dtype, false, Layout.ODD));
            cases.add(new DropoutCase(5, 123, 0.1f, 42, 1, 2, dtype, false, Layout.ODD));
            cases.add(new DropoutCase(5, 123, 0.5f, -1, -1, -1, dtype, true, Layout.PADDED));
            cases.add(new DropoutCase(33, 64, 0.25f, 1L << 40, 7, 300, dtype, true, Layout.DENSE));
            cases.add(new DropoutCase(7, 18, 0, 3, 0, 0, dtype, false, Layout.DENSE));
            cases.add(new DropoutCase(3, 600, 1, 3, 0, 0, dtype, true, Layout.DENSE));
            cases.add(new DropoutCase(50, 50, 0.95f, 3, 5, 8, dtype, false, Layout.PADDED));
        }
        return cases;
    }

    /** The low-rank path of GPT-2's c_attn, 1024 tokens. */
    public static List<OpCase<DropoutKernel>> speed() {
        return List.of(
                new DropoutCase(1024, 768, 0.1f, 42, 0, 0, F32, true, Layout.PADDED),
                new DropoutCase(1024, 768, 0.1f, 42, 0, 0, BF16, true, Layout.PADDED));
    }

    @Override
    public Problem<DropoutKernel> problem() {
        var problem = new Problem<DropoutKernel>("dropout " + this);
        Tolerance tolerance = Tolerance.f32(dtype, 1);
        Slot x = problem.input("x", dtype, tokens, cols, layout, Fill.normal(1));
        Slot rng = problem.ints("rng", (int) seed, (int) (seed >>> 32), microBatch);
        Slot out = problem.output("out", dtype, tokens, cols, layout, tolerance);
        Slot dOut = problem.input("dOut", dtype, tokens, cols, layout, Fill.normal(1));
        Slot dx = problem.target("dx", dtype, tokens, cols, layout, accumulate, tolerance);
        // Ten rounds of about ten operations make four words.
        double operations = 27.0 * tokens * cols;
        problem.pass(
                "forward",
                operations,
                List.of(x, rng),
                List.of(out),
                (k, t) -> k.forward(t.apply(out), t.apply(x), p, t.apply(rng), stream));
        problem.pass(
                "backward",
                operations,
                List.of(dOut, rng),
                List.of(dx),
                (k, t) ->
                        k.backward(
                                new Grad(t.apply(dx), accumulate),
                                t.apply(dOut),
                                p,
                                t.apply(rng),
                                stream));
        problem.cotangent(out, dOut);
        problem.gradient(x, dx);
        return problem;
    }
}
