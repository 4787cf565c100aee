package jlora.bench.op;

import jlora.runtime.backend.Backend;
import jlora.runtime.cases.OpCase;
import jlora.runtime.cases.OpStem;
import jlora.runtime.cases.OpStems;
import jlora.runtime.cases.Pass;
import jlora.runtime.cases.Placed;

import java.util.ArrayList;
import java.util.List;

/**
 * One thing to time: one pass of one speed case of an op, as the runtime's own op cases define it.
 * Its id names it in JMH's parameters: the op, the case's number among the op's speed cases and the
 * pass, such as {@code linear.3.backwardInput}.
 *
 * @param detail the case itself: sizes, types, options
 * @param flops floating-point operations of one call
 * @param bytes least memory traffic of one call
 */
record OpPoint(String id, String detail, double flops, long bytes) {
    /** Every pass of every speed case, in the order of the registry. */
    static List<OpPoint> all() {
        List<OpPoint> points = new ArrayList<>();
        for (OpStem<?> stem : OpStems.ALL) {
            List<? extends OpCase<?>> cases = stem.speedCases().get();
            for (int i = 0; i < cases.size(); i++) {
                for (Pass<?> pass : cases.get(i).problem().passes()) {
                    points.add(
                            new OpPoint(
                                    id(stem, i, pass),
                                    cases.get(i).toString(),
                                    pass.flops(),
                                    pass.bytes()));
                }
            }
        }
        return points;
    }

    private static String id(OpStem<?> stem, int number, Pass<?> pass) {
        return stem.name() + "." + number + "." + pass.name();
    }

    /**
     * A point with its tensors in a backend's memory, ready to be called; closing it frees them.
     */
    record Ready(Runnable call, Placed<?> placed) implements AutoCloseable {
        @Override
        public void close() {
            placed.close();
        }
    }

    /**
     * Places the tensors of a point. The passes before it run once, so that what it reads is what
     * they write.
     */
    static Ready open(String id, Backend backend) {
        for (OpStem<?> stem : OpStems.ALL) {
            if (id.startsWith(stem.name() + ".")) {
                return open(stem, id, backend);
            }
        }
        throw new IllegalArgumentException("no op for " + id);
    }

    private static <K> Ready open(OpStem<K> stem, String id, Backend backend) {
        K kernel = stem.kernel().apply(backend.kernels());
        List<? extends OpCase<K>> cases = stem.speedCases().get();
        int number = Integer.parseInt(id.split("\\.")[1]);
        Placed<K> placed = new Placed<>(cases.get(number).problem(), backend, Placed.POISON_FINITE);
        for (Pass<K> pass : placed.problem().passes()) {
            if (id(stem, number, pass).equals(id)) {
                return new Ready(() -> placed.call(kernel, pass), placed);
            }
            placed.call(kernel, pass);
        }
        placed.close();
        throw new IllegalArgumentException("no pass for " + id);
    }
}
