package jlora.runtime.cases;

import static jlora.runtime.tensor.DType.BF16;
import static jlora.runtime.tensor.DType.F32;

import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.kernel.LowRankBorder.Target;
import jlora.runtime.kernel.LowRankKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/**
 * The thin products of a bordered weight: X with U behind its rows, dY with dU behind its rows, and
 * the buffer [W | sB; A | 0] of which W itself is not read.
 *
 * @param modules of the weight, in the order of its rows
 * @param adapters each has a block on every module that takes one; more than one mix in the batch
 * @param spare columns of the border that no block owns
 */
public record LowRankCase(
        int tokens,
        int in,
        List<Module> modules,
        int adapters,
        int spare,
        DType dtype,
        boolean accumulate,
        Layout layout)
        implements OpCase<LowRankKernel> {
    /**
     * One module of the weight.
     *
     * @param rank of its blocks; 0 for a module that takes no adapter
     */
    public record Module(int out, int rank, float dropout) {
        static Module plain(int out, int rank) {
            return new Module(out, rank, 0);
        }

        static Module dropping(int out, int rank, float dropout) {
            return new Module(out, rank, dropout);
        }
    }

    /** The aligned layout of bordered weights: pad columns for the border, whole 16 bytes. */
    private static Layout border(int rank) {
        return new Layout(128, (rank + 15) / 16 * 16);
    }

    private static LowRankCase aligned(
            int tokens,
            int in,
            List<Module> modules,
            int adapters,
            int spare,
            DType dtype,
            boolean accumulate) {
        int rank = adapters * modules.stream().mapToInt(Module::rank).sum() + spare;
        return new LowRankCase(
                tokens, in, modules, adapters, spare, dtype, accumulate, border(rank));
    }

    public static List<OpCase<LowRankKernel>> all() {
        List<OpCase<LowRankKernel>> cases = new ArrayList<>();
        for (DType dtype : List.of(F32, BF16)) {
            List<Module> one = List.of(Module.plain(24, 8));
            List<Module> qkv =
                    List.of(Module.plain(48, 4), Module.plain(16, 3), Module.plain(16, 5));
            List<Module> dropping =
                    List.of(Module.dropping(40, 4, 0.3f), Module.dropping(24, 4, 0.6f));
            List<Module> some =
                    List.of(Module.plain(8, 2), Module.plain(16, 0), Module.dropping(8, 3, 0.1f));
            cases.add(aligned(7, 16, one, 1, 0, dtype, false));
            cases.add(aligned(37, 72, qkv, 1, 4, dtype, true));
            cases.add(aligned(37, 72, qkv, 3, 4, dtype, false));
            cases.add(aligned(21, 40, dropping, 1, 0, dtype, true));
            cases.add(aligned(33, 72, dropping, 2, 8, dtype, false));
            cases.add(aligned(19, 24, some, 2, 6, dtype, true));
            // Nothing is aligned: the columns of U and dU lie in tensors of their own.
            cases.add(new LowRankCase(1, 1, List.of(Module.plain(1, 1)), 1, 0, dtype, false, ODD));
            cases.add(new LowRankCase(13, 23, qkv, 1, 1, dtype, true, ODD));
            cases.add(new LowRankCase(13, 23, some, 2, 3, dtype, false, ODD));
            cases.add(new LowRankCase(9, 11, dropping, 2, 0, dtype, true, ODD));
        }
        // More columns than one pass of a kernel takes, more rows and columns than a tile.
        List<Module> wide = List.of(Module.plain(64, 72), Module.plain(32, 16));
        List<Module> wideDropping = List.of(Module.dropping(64, 72, 0.4f), Module.plain(32, 16));
        List<Module> long3 =
                List.of(Module.plain(640, 16), Module.plain(136, 16), Module.plain(520, 16));
        List<Module> longDropping =
                List.of(Module.dropping(136, 16, 0.05f), Module.dropping(520, 12, 0.25f));
        cases.add(aligned(40, 136, wide, 1, 8, BF16, true));
        cases.add(aligned(40, 136, wideDropping, 1, 8, BF16, false));
        cases.add(aligned(300, 344, long3, 1, 0, BF16, true));
        cases.add(aligned(150, 600, long3, 2, 0, BF16, false));
        cases.add(aligned(200, 328, longDropping, 1, 4, BF16, true));
        cases.add(aligned(65, 72, wide, 1, 0, F32, false));
        // So deep that the forward product is cut, over two adapters; so long that the gradients
        // are.
        List<Module> narrow = List.of(Module.plain(24, 8), Module.dropping(16, 4, 0.5f));
        cases.add(aligned(20, 776, List.of(Module.plain(24, 8)), 2, 4, BF16, false));
        cases.add(aligned(150, 776, narrow, 2, 0, BF16, true));
        // More blocks than one launch takes.
        cases.add(aligned(20, 40, qkvOf(3), 14, 2, BF16, true));
        cases.add(aligned(9, 17, qkvOf(1), 14, 2, F32, false));
        return cases;
    }

    private static final Layout ODD = Layout.ODD;

    private static List<Module> qkvOf(int rank) {
        return List.of(Module.plain(16, rank), Module.plain(8, rank), Module.plain(8, rank));
    }

    /** Fused q/k/v, gate/up and down of Llama-3.1-8B at rank 16, and q/k/v with dropout. */
    public static List<OpCase<LowRankKernel>> speed() {
        List<Module> qkv =
                List.of(Module.plain(4096, 16), Module.plain(1024, 16), Module.plain(1024, 16));
        List<Module> gateUp = List.of(Module.plain(14336, 16), Module.plain(14336, 16));
        List<Module> dropping =
                List.of(
                        Module.dropping(4096, 16, 0.1f),
                        Module.dropping(1024, 16, 0.1f),
                        Module.dropping(1024, 16, 0.1f));
        return List.of(
                aligned(512, 768, List.of(Module.plain(2304, 8)), 1, 0, F32, true),
                aligned(4096, 4096, qkv, 1, 0, BF16, true),
                aligned(4096, 4096, gateUp, 1, 0, BF16, true),
                aligned(4096, 14336, List.of(Module.plain(4096, 16)), 1, 0, BF16, true),
                aligned(4096, 4096, dropping, 1, 0, BF16, true));
    }

    /** One block, and its tensors. */
    private record Part(
            int adapter,
            long outFrom,
            long rankFrom,
            Module module,
            float scale,
            int stream,
            Slot a,
            Slot b,
            Slot dA,
            Slot dB) {
        LowRankBorder.Block block(Function<Slot, Tensor> t) {
            return new LowRankBorder.Block(
                    t.apply(a),
                    t.apply(b),
                    adapter,
                    outFrom,
                    rankFrom,
                    scale,
                    module.dropout(),
                    stream);
        }
    }

    private int rank() {
        return adapters * modules.stream().mapToInt(Module::rank).sum() + spare;
    }

    private boolean drops() {
        return modules.stream().anyMatch(m -> m.rank() > 0 && m.dropout() > 0);
    }

    /** Tokens use the adapters in turn, with tokens of none in between. */
    private int[] adapterOfRow() {
        int[] rows = new int[tokens];
        for (int t = 0; t < tokens; t++) {
            rows[t] = t % (adapters + 1) - 1;
        }
        return rows;
    }

    private Tolerance products(DType stored, long depth) {
        // With dropout, a masked copy of the inputs may be rounded before the product.
        return drops()
                ? Tolerance.rounding(dtype, stored, depth)
                        .times(2, "products round in their own way")
                : LinearCase.products(stored, depth);
    }

    @Override
    public Problem<LowRankKernel> problem() {
        var p = new Problem<LowRankKernel>("low_rank " + this);
        Optional<Fill> none = Optional.empty();
        int rank = rank();
        int out = modules.stream().mapToInt(Module::out).sum();
        boolean behind = layout.pad() >= rank;
        Tolerance ofU = products(dtype, in);
        Tolerance ofDu = LinearCase.products(dtype, out);
        Slot x = p.input("x", dtype, tokens, in, layout, Fill.normal(1));
        Slot u =
                behind
                        ? p.columns("u", x, in, rank, none, Optional.of(ofU))
                        : p.output("u", dtype, tokens, rank, layout, ofU);
        Slot dy = p.input("dOut", dtype, tokens, out, layout, Fill.normal(1));
        Slot du =
                behind
                        ? p.columns("dU", dy, out, rank, none, Optional.of(ofDu))
                        : p.output("dU", dtype, tokens, rank, layout, ofDu);
        // W stays poisoned: nothing here reads it. Columns of the border lie behind its rows too.
        long wide = behind ? in : in + rank;
        Slot w =
                p.block(
                        "W",
                        p.scratch("buffer", dtype, out + rank, wide, layout),
                        0,
                        out,
                        0,
                        in,
                        none,
                        Optional.empty());
        Fill zero = (random, row, col) -> 0;
        Optional<Tolerance> unwritten = Optional.empty();
        Slot a = p.block("A", w, out, rank, 0, in, Optional.of(zero), unwritten);
        Slot b = p.block("sB", w, 0, out, in, rank, Optional.of(zero), unwritten);
        List<Part> parts = parts(p, a, b);
        Slot adapter = p.ints("adapterOfRow", adapterOfRow());
        Slot rng = p.ints("rng", 12345, -7, 3);
        Slot dx =
                p.updated(
                        "dx",
                        dtype,
                        tokens,
                        in,
                        layout,
                        Fill.normal(1),
                        Tolerance.rounding(dtype, dtype, rank)
                                .times(2, "the term that is added may be rounded first"));
        Function<Function<Slot, Tensor>, LowRankBorder> border =
                t ->
                        new LowRankBorder(
                                t.apply(a),
                                t.apply(b),
                                parts.stream().map(part -> part.block(t)).toList());
        Function<Function<Slot, Tensor>, Optional<Tensor>> rows =
                t -> adapters > 1 ? Optional.of(t.apply(adapter)) : Optional.empty();

        double thinOut =
                parts.stream().mapToDouble(d -> 2.0 * tokens * d.dB.rows() * d.dB.cols()).sum();
        double thinIn = 2.0 * tokens * in * rank;
        p.pass(
                "forward",
                thinIn,
                List.of(x, a, adapter, rng),
                List.of(u),
                (k, t) ->
                        k.forward(
                                t.apply(u),
                                t.apply(x),
                                border.apply(t),
                                rows.apply(t),
                                t.apply(rng)));
        List<Slot> outputWrites = new ArrayList<>(List.of(du));
        parts.forEach(part -> outputWrites.add(part.dB));
        p.pass(
                "backwardOutput",
                2 * thinOut,
                List.of(dy, u, b, adapter),
                outputWrites,
                (k, t) ->
                        k.backwardOutput(
                                t.apply(du),
                                targets(t, parts, Part::dB),
                                t.apply(dy),
                                t.apply(u),
                                border.apply(t),
                                rows.apply(t)));
        p.pass(
                "backwardA",
                thinIn,
                List.of(du, x, rng),
                parts.stream().map(Part::dA).toList(),
                (k, t) ->
                        k.backwardA(
                                targets(t, parts, Part::dA),
                                t.apply(du),
                                t.apply(x),
                                t.apply(rng)));
        p.pass(
                "backwardInputDropout",
                thinIn,
                List.of(du, a, rng),
                List.of(dx),
                (k, t) ->
                        k.backwardInputDropout(
                                t.apply(dx), t.apply(du), border.apply(t), t.apply(rng)));
        p.cotangent(u, du);
        p.gradient(x, dx);
        parts.forEach(part -> p.gradient(part.a, part.dA));
        return p;
    }

    private List<Part> parts(Problem<LowRankKernel> p, Slot a, Slot b) {
        List<Part> parts = new ArrayList<>();
        Optional<Tolerance> unwritten = Optional.empty();
        long rankFrom = 0;
        for (int adapter = 0; adapter < adapters; adapter++) {
            long outFrom = 0;
            for (Module module : modules) {
                int r = module.rank();
                if (r > 0) {
                    String name = adapter + "." + parts.size();
                    Fill values = Fill.normal(0.5);
                    Layout dense = Layout.DENSE;
                    int stream = 5 + parts.size();
                    parts.add(
                            new Part(
                                    adapter,
                                    outFrom,
                                    rankFrom,
                                    module,
                                    0.75f + 0.5f * parts.size(),
                                    stream,
                                    p.block(
                                            "A" + name,
                                            a,
                                            rankFrom,
                                            r,
                                            0,
                                            in,
                                            Optional.of(values),
                                            unwritten),
                                    p.block(
                                            "sB" + name,
                                            b,
                                            outFrom,
                                            module.out(),
                                            rankFrom,
                                            r,
                                            Optional.of(values),
                                            unwritten),
                                    p.target(
                                            "dA" + name,
                                            F32,
                                            r,
                                            in,
                                            dense,
                                            accumulate,
                                            products(F32, tokens)),
                                    p.target(
                                            "dB" + name,
                                            F32,
                                            module.out(),
                                            r,
                                            dense,
                                            accumulate,
                                            LinearCase.products(F32, tokens))));
                }
                rankFrom += r;
                outFrom += module.out();
            }
        }
        return parts;
    }

    private List<Target> targets(
            Function<Slot, Tensor> t, List<Part> parts, Function<Part, Slot> gradient) {
        return parts.stream()
                .map(
                        part ->
                                new Target(
                                        part.block(t),
                                        new Grad(t.apply(gradient.apply(part)), accumulate)))
                .toList();
    }
}
