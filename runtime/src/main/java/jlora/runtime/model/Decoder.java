package jlora.runtime.model;

import jlora.runtime.Resources;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Routine;
import jlora.runtime.nn.StepInputs;
import jlora.runtime.op.Attention;
import jlora.runtime.op.Embedding;
import jlora.runtime.op.Linear;
import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Placement;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Generates from one sequence with a cache of keys and values. The prompt goes in by chunks, then
 * one token at a time; plans are traced once per chunk size.
 */
public final class Decoder implements AutoCloseable {
    private static final int CHUNK = 256;
    private static final int GRANULE = 16;

    private record Pass(Plan plan, Routine routine, StepInputs inputs, Tensor logits) {}

    private final Backend backend;
    private final Model model;
    private final int capacity;
    private final int adapter;
    private final List<Tensor> caches = new ArrayList<>();
    private final Tensor cached = Tensor.dense("cached", Storage.Role.INPUT, DType.I32, 1, 1);
    private final Tensor lastRow = Tensor.dense("last_row", Storage.Role.INPUT, DType.I32, 1, 1);
    private final Map<Integer, Pass> passes = new HashMap<>();
    private final Resources owned = new Resources();
    private final MemoryArena activations;
    private final MemoryArena inputs;
    private final Pass largest;
    private int length;

    /**
     * @param capacity tokens of prompt and continuation together
     * @param adapter which of the model's adapters to use; −1 for none
     */
    public Decoder(Backend backend, Model model, int capacity, int adapter) {
        if (capacity < 1 || capacity > model.config().maxPositions()) {
            throw new IllegalArgumentException(
                    capacity
                            + " tokens where the model has positions for "
                            + model.config().maxPositions());
        }
        this.backend = backend;
        this.model = model;
        this.capacity = capacity;
        this.adapter = adapter;
        long keys = 2L * model.attentionShape().keyCols();
        for (int i = 0; i < model.config().layers(); i++) {
            caches.add(
                    Tensor.dense(
                            "layers." + i + ".cache",
                            Storage.Role.KV_CACHE,
                            model.weights().dtype(),
                            capacity,
                            keys));
        }
        largest = trace(chunk(Math.min(CHUNK, capacity)));
        Pass single = trace(1);
        try {
            owned.own(
                    Placement.allocate(
                            backend,
                            "key/value cache",
                            caches.stream().map(Tensor::storage).toList()));
            owned.own(
                    Placement.allocate(
                            backend,
                            "decoder state",
                            List.of(cached.storage(), lastRow.storage())));
            activations =
                    owned.own(
                            backend.allocate(
                                    "decoder activations",
                                    Math.max(largest.plan.arenaBytes(), single.plan.arenaBytes())));
            inputs =
                    owned.own(
                            backend.allocate(
                                    "decoder inputs", Placement.bytes(largest.inputs.storages())));
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, owned);
            throw e;
        }
        bind(largest);
        passes.put((int) largest.inputs.tokens(), largest);
        bind(single);
        passes.put(1, single);
    }

    private static int chunk(int tokens) {
        return tokens == 1 ? 1 : Math.ceilDiv(tokens, GRANULE) * GRANULE;
    }

    private Pass trace(int tokens) {
        StepInputs in = StepInputs.of(tokens, 1, otherAdapters(), false);
        Trace trace = Trace.inference(model.weights().dtype());
        Tensor hidden =
                model.hidden(
                        trace,
                        in,
                        (t, layer, qkv, shape, pad) ->
                                Attention.cached(
                                        t,
                                        qkv,
                                        caches.get(layer),
                                        in.cuSeqlens(),
                                        cached,
                                        shape,
                                        capacity,
                                        pad));
        // A look-up of one row: only the last token's logits are wanted.
        Tensor last = Embedding.apply(trace, lastRow, lastRow, hidden, Optional.empty());
        Tensor logits = Linear.logits(trace, last, model.head(trace));
        Plan plan = trace.finish();
        Routine routine = backend.routine("decoder", () -> plan.run(backend));
        return new Pass(plan, routine, in, logits);
    }

    /** True when the model has adapters that this decoder must leave out. */
    private boolean otherAdapters() {
        return model.linears().stream()
                .flatMap(linear -> linear.weight().lowRank().stream())
                .flatMap(border -> border.blocks().stream())
                .anyMatch(block -> block.adapter() != adapter);
    }

    private void bind(Pass pass) {
        owned.own(pass.routine);
        pass.plan.bind(activations);
        long offset = 0;
        for (Storage storage : pass.inputs.storages()) {
            inputs.place(storage, offset);
            offset += MemoryArena.align(storage.bytes());
        }
    }

    /** Tokens so far. */
    public int length() {
        return length;
    }

    /** Forgets the sequence. */
    public void reset() {
        length = 0;
    }

    /** Appends tokens and returns the logits [V] of what follows them. */
    public float[] append(int... ids) {
        if (ids.length == 0 || length + ids.length > capacity) {
            throw new IllegalArgumentException(
                    ids.length + " tokens after " + length + " of " + capacity);
        }
        float[] logits = null;
        for (int from = 0; from < ids.length; from += CHUNK) {
            logits = run(Arrays.copyOfRange(ids, from, Math.min(from + CHUNK, ids.length)));
        }
        return logits;
    }

    private float[] run(int[] ids) {
        Pass pass =
                passes.computeIfAbsent(
                        chunk(ids.length),
                        tokens -> {
                            Pass traced = trace(tokens);
                            if (traced.plan.arenaBytes() > activations.bytes()) {
                                // Layouts are found greedily: fewer tokens may, in theory, pack
                                // worse than most.
                                return largest;
                            }
                            bind(traced);
                            return traced;
                        });
        int tokens = (int) pass.inputs.tokens();
        int[] positions = new int[tokens];
        int[] adapters = new int[tokens];
        Arrays.fill(adapters, adapter);
        for (int t = 0; t < ids.length; t++) {
            positions[t] = length + t;
        }
        upload(pass.inputs.ids(), Arrays.copyOf(ids, tokens));
        upload(pass.inputs.positions(), positions);
        upload(pass.inputs.adapterOfRow(), adapters);
        upload(pass.inputs.cuSeqlens(), 0, ids.length);
        upload(cached, length);
        upload(lastRow, ids.length - 1);
        pass.routine.run();
        length += ids.length;
        float[] logits = new float[(int) pass.logits.cols()];
        backend.download(MemorySegment.ofArray(logits), pass.logits);
        return logits;
    }

    private void upload(Tensor to, int... values) {
        backend.upload(to, MemorySegment.ofArray(values));
    }

    @Override
    public void close() {
        owned.close();
    }
}
