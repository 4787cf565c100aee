package jlora.trainer.bench;

import jlora.runtime.backend.Backend;
import jlora.runtime.nn.Linear;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Placement;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What adapters cost: the linear layers of a step with their low-rank parts, against products of
 * the frozen weights alone, forward and input gradient.
 */
public record LinearBench(double loraMilliseconds, double frozenMilliseconds) {
    private static final int ROUNDS = 9;

    private record Shape(long out, long in) {}

    public double ratio() {
        return loraMilliseconds / frozenMilliseconds;
    }

    /** Adds up the rows of a run's linear layers and times their frozen twins. */
    public static LinearBench of(BenchRun run, List<KernelRow> rows) {
        double lora = 0;
        for (KernelRow row : rows) {
            boolean linear =
                    row.op().equals("linear") || row.op().matches("(linear|fp8|four_bit)[.].*");
            if (linear || row.op().startsWith("low_rank")) {
                lora += row.calls() * row.milliseconds();
            }
        }
        Map<Shape, Double> times = new HashMap<>();
        double frozen = 0;
        for (Linear linear : run.job().model().model().linears()) {
            Shape shape = new Shape(linear.weight().rows(), linear.weight().cols());
            frozen += times.computeIfAbsent(shape, s -> frozen(run, s));
        }
        return new LinearBench(lora, frozen);
    }

    private static double frozen(BenchRun run, Shape shape) {
        Backend backend = run.backend();
        DType dtype = run.dtype();
        long tokens = run.job().batchSize().tokens();
        Tensor x = Tensor.dense("x", Storage.Role.WORKSPACE, dtype, tokens, shape.in);
        Tensor w = Tensor.dense("w", Storage.Role.WORKSPACE, dtype, shape.out, shape.in);
        Tensor y = Tensor.dense("y", Storage.Role.WORKSPACE, dtype, tokens, shape.out);
        List<Storage> storages = List.of(x.storage(), w.storage(), y.storage());
        try (MemoryArena _ = Placement.allocate(backend, "frozen twin", storages)) {
            int stream = 0;
            for (Tensor t : List.of(x, w, y)) {
                backend.kernels().randomFill().normal(t, 0, 0, stream++, 1);
            }
            Runnable both =
                    () -> {
                        backend.kernels().linear().forward(y, x, w, Optional.empty());
                        backend.kernels().linear().backwardInput(Grad.overwrite(x), y, w);
                    };
            both.run();
            double[] rounds = new double[ROUNDS];
            for (int i = 0; i < ROUNDS; i++) {
                rounds[i] = backend.milliseconds(both);
            }
            Arrays.sort(rounds);
            return rounds[ROUNDS / 2];
        }
    }
}
