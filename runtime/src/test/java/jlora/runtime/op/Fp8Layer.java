package jlora.runtime.op;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.reference.Elements;
import jlora.runtime.kernel.Fp8Matrix;
import jlora.runtime.kernel.Fp8Matrix.Scaling;
import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Placement;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;

/** One layer in the memory of a backend, its inputs and the gradient of its result given. */
final class Fp8Layer implements AutoCloseable {
    static final int TOKENS = 16;
    static final int IN = 160;
    static final int OUT = 144;
    static final int RANK = 8;

    /** Of y and dx, and of A and B of the first block. */
    record Results(double[] y, double[] dx, double[] dA, double[] dB) {}

    final Backend backend;
    final DType dtype;
    private final List<MemoryArena> arenas = new ArrayList<>();
    private final List<Storage> storages = new ArrayList<>();
    final Map<Tensor, Tensor> gradients = new HashMap<>();
    final Tensor x;
    final Tensor dy;
    final Tensor whole;
    final Tensor bias;
    final Tensor rng;
    final Fp8Matrix weight;
    final Fp8Matrix transposed;
    final Border border;

    Fp8Layer(Backend backend, DType dtype, Scaling scaling, float dropout) {
        this.backend = backend;
        this.dtype = dtype;
        x = padded("x", TOKENS, IN, RANK);
        dy = padded("dy", TOKENS, OUT, RANK);
        // What the codes stand for, with the border around it.
        Tensor tall = padded("w", OUT + RANK, IN, RANK);
        whole = tall.rows(0, OUT);
        bias = padded("bias", 1, OUT, 0);
        rng = placed(Tensor.dense("rng", Storage.Role.RESULT, DType.I32, 1, 3));
        weight = matrix("w8", OUT, IN, scaling);
        transposed = matrix("w8t", IN, OUT, scaling.ofTranspose());
        border = border(tall, dropout);
        for (LowRankBorder.Block block : border.blocks()) {
            for (Tensor value : List.of(block.a(), block.b())) {
                gradient(value);
            }
        }
        gradient(x);
        arenas.add(Placement.allocate(backend, "layer", storages));
        fill(tall);
    }

    private Border border(Tensor tall, float dropout) {
        Tensor a = tall.rows(OUT, RANK);
        Tensor b = whole.columns(IN, RANK);
        Tensor lastB =
                new Tensor(
                        "b1",
                        tall.storage(),
                        dtype,
                        OUT - 100,
                        2,
                        100 * tall.stride() + IN + 3,
                        tall.stride());
        var first =
                new LowRankBorder.Block(
                        a.rows(0, 3), b.rows(0, 100).columns(0, 3), 0, 0, 0, 2, dropout, 1);
        var last = new LowRankBorder.Block(a.rows(3, 2), lastB, 0, 100, 3, 0.5f, 0, 2);
        return new Border(
                new LowRankBorder(a, b, List.of(first, last)), whole.columns(0, IN + RANK), tall);
    }

    private Tensor placed(Tensor tensor) {
        storages.add(tensor.storage());
        return tensor;
    }

    private Tensor padded(String name, long rows, long cols, long pad) {
        return placed(Tensor.padded(name, Storage.Role.RESULT, dtype, rows, cols, pad));
    }

    private Fp8Matrix matrix(String name, long rows, long cols, Scaling by) {
        return Fp8Matrix.allocate(
                rows,
                cols,
                by,
                (what, type, r, c) ->
                        placed(Tensor.dense(name + "." + what, Storage.Role.WEIGHT, type, r, c)));
    }

    private void gradient(Tensor value) {
        gradients.put(
                value,
                placed(
                        Tensor.dense(
                                "d" + value.name(),
                                Storage.Role.GRADIENT,
                                DType.F32,
                                value.rows(),
                                value.cols())));
    }

    private void fill(Tensor tall) {
        Random random = new Random(3);
        write(x, normal(random, x, 1));
        write(dy, normal(random, dy, 1));
        write(bias, normal(random, bias, 1));
        backend.upload(rng, MemorySegment.ofArray(new int[] {1, 2, 3}));
        // As the loader has it: 128 rows at a time, quantised, and gone.
        write(whole, normal(random, whole, 0.1));
        for (int row = 0; row < OUT; row += Fp8Matrix.BLOCK) {
            int rows = Math.min(Fp8Matrix.BLOCK, OUT - row);
            backend.kernels()
                    .fp8()
                    .quantize(weight.rows(row, rows), whole.rows(row, rows), Optional.empty());
        }
        backend.kernels().fp8().transpose(transposed, weight);
        backend.kernels().fp8().dequantize(whole, weight);
        for (LowRankBorder.Block block : border.blocks()) {
            write(block.a(), normal(random, block.a(), 1));
            write(block.b(), normal(random, block.b(), 1));
        }
    }

    private static double[] normal(Random random, Tensor like, double sigma) {
        double[] values = new double[(int) like.elements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = sigma * random.nextGaussian();
        }
        return values;
    }

    private void write(Tensor to, double[] values) {
        try (MemoryArena host = MemoryArena.host("values", to.elements() * 4)) {
            Tensor dense = dense(to, host);
            for (int i = 0; i < values.length; i++) {
                Elements.set(dense, i / to.cols(), i % to.cols(), values[i]);
            }
            backend.upload(to, dense.segment());
        }
    }

    double[] read(Tensor from) {
        try (MemoryArena host = MemoryArena.host("values", from.elements() * 4)) {
            Tensor dense = dense(from, host);
            backend.download(dense.segment(), from);
            double[] values = new double[(int) from.elements()];
            for (int i = 0; i < values.length; i++) {
                values[i] = Elements.get(dense, i / from.cols(), i % from.cols());
            }
            return values;
        }
    }

    private static Tensor dense(Tensor like, MemoryArena host) {
        Tensor dense =
                Tensor.dense(
                        like.name(), Storage.Role.RESULT, like.dtype(), like.rows(), like.cols());
        host.place(dense.storage(), 0);
        return dense;
    }

    Tensor frozen(Trace trace, boolean bordered) {
        return Linear.apply(
                trace,
                "layer",
                x,
                weight,
                Optional.of(transposed),
                Optional.of(bias),
                Optional.of(border.lowRank()).filter(_ -> bordered),
                Optional.empty(),
                rng);
    }

    private Tensor plain(Trace trace, boolean bordered) {
        return Linear.apply(
                trace,
                "layer",
                x,
                whole,
                Optional.of(bias),
                Optional.of(border).filter(_ -> bordered),
                Optional.empty(),
                rng);
    }

    /** The layer over codes, or over what they stand for. */
    Results train(boolean fp8, boolean bordered) {
        Trace forward = Trace.training(dtype, gradients);
        Tensor result = fp8 ? frozen(forward, bordered) : plain(forward, bordered);
        double[] y = run(forward.finish());
        assertEquals(result.elements(), y.length);

        Trace trace = Trace.training(dtype, gradients);
        trace.given(fp8 ? frozen(trace, bordered) : plain(trace, bordered), dy);
        double[] dx = run(trace.finish());
        LowRankBorder.Block block = border.blocks().getFirst();
        return new Results(y, dx, read(gradients.get(block.a())), read(gradients.get(block.b())));
    }

    /** What the last step writes: whatever else lies in the arena may be overwritten by then. */
    double[] run(Plan plan) {
        gradients.values().forEach(this::zero);
        try (MemoryArena arena = backend.allocate("plan", plan.arenaBytes())) {
            plan.bind(arena);
            plan.run(backend);
            return read(plan.steps().getLast().writes().getFirst());
        }
    }

    void zero(Tensor gradient) {
        write(gradient, new double[(int) gradient.elements()]);
    }

    @Override
    public void close() {
        arenas.forEach(MemoryArena::close);
    }
}
