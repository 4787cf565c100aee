package jlora.runtime.backend.cpu;

import jlora.runtime.tensor.DType;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.LinkedHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * Products by oneDNN, called through Panama. Each call borrows a {@link Session}: as many exist as
 * calls ever ran at once, whatever threads they came from.
 */
final class OneDnnProducts implements Products {
    /**
     * Primitives that one session keeps; a model needs a few dozen, runs over rows of varying
     * length more.
     */
    private static final int KEPT = 256;

    /**
     * From this many operations on, generated code beats the generic routine by more than it costs
     * to look up.
     */
    private static final double LARGE = 8e6;

    private final OneDnnScope scope = new OneDnnScope("the CPU engine");
    private final MemorySegment engine;
    private final boolean bf16;
    private final VectorProducts vector = new VectorProducts();
    private volatile boolean closed;
    private final ConcurrentLinkedQueue<Session> idle = new ConcurrentLinkedQueue<>();

    private OneDnnProducts() {
        OneDnn.oneThread();
        engine =
                scope.create(
                        "dnnl_engine_create",
                        OneDnn.ENGINE_DESTROY,
                        out -> (int) OneDnn.ENGINE_CREATE.invokeExact(out, OneDnn.CPU, 0L));
        bf16 = multipliesBf16();
    }

    /** Opens oneDNN, or says in one sentence why it cannot be had here. */
    static OneDnnProducts open() {
        OneDnnLibrary.open();
        return new OneDnnProducts();
    }

    @Override
    public String describe() {
        return "oneDNN "
                + OneDnn.version()
                + (bf16 ? " with bf16" : ", bf16 by " + vector.describe());
    }

    @Override
    public boolean bf16IsFaster() {
        return bf16;
    }

    @Override
    public void multiply(Product p) {
        if (closed) {
            throw new IllegalStateException("oneDNN is closed");
        }
        if (p.m() == 0 || p.n() == 0) {
            return;
        }
        boolean narrow = p.type() == DType.BF16;
        if (p.k() == 0 || (narrow && !bf16)) {
            vector.multiply(p);
            return;
        }
        OneDnn.oneThread();
        if (!narrow && !prefersMatmul(p)) {
            sgemm(p);
            return;
        }
        Session session = idle.poll();
        if (session == null) {
            session = new Session();
        }
        try {
            session.matmul(p);
        } finally {
            idle.add(session);
        }
    }

    /**
     * Measured on Zen 4, GFLOP/s of two threads: x·Wᵀ 219 by matmul against 188 to 213 by sgemm;
     * skinny results 223 against 163; x·W and transposed left operands 226 by sgemm against 190 to
     * 220.
     */
    private static boolean prefersMatmul(Product p) {
        return p.bias().isPresent()
                || (p.recurring()
                        && !p.a().transposed()
                        && (p.b().transposed() || p.n() <= 64)
                        && 2.0 * p.m() * p.n() * p.k() >= LARGE);
    }

    private static void sgemm(Product p) {
        byte ta = (byte) (p.a().transposed() ? 'T' : 'N');
        byte tb = (byte) (p.b().transposed() ? 'T' : 'N');
        MemorySegment a = p.a().segment().asSlice(p.a().byteOffset());
        MemorySegment b = p.b().segment().asSlice(p.b().byteOffset());
        MemorySegment c = p.c().segment().asSlice(p.c().byteOffset());
        float beta = p.accumulate() ? 1f : 0f;
        int status;
        try {
            status =
                    (int)
                            OneDnn.SGEMM.invokeExact(
                                    ta,
                                    tb,
                                    (long) p.m(),
                                    (long) p.n(),
                                    (long) p.k(),
                                    p.alpha(),
                                    a,
                                    p.a().leading(),
                                    b,
                                    p.b().leading(),
                                    beta,
                                    c,
                                    p.c().leading());
        } catch (Throwable t) {
            throw new AssertionError("dnnl_sgemm: bad binding", t);
        }
        OneDnn.check("dnnl_sgemm", p, status);
    }

    /**
     * AVX-512 without bf16 instructions runs matmul too, but slower than f32: conversion is better
     * there.
     */
    private boolean multipliesBf16() {
        var key =
                new OneDnnMatmul.Key(
                        64,
                        64,
                        64,
                        64,
                        64,
                        64,
                        false,
                        false,
                        DType.BF16,
                        DType.F32,
                        false,
                        false,
                        1f);
        try (OneDnnMatmul probe = new OneDnnMatmul(engine, key)) {
            return OneDnn.mayHaveBf16() && !probe.implementation().contains("ref");
        } catch (OneDnnException e) {
            if (e.isUnimplemented()) {
                return false;
            }
            throw e;
        }
    }

    /**
     * What one call at a time needs: a stream, prepared primitives, scratch of the largest of them.
     */
    private final class Session implements AutoCloseable {
        private final OneDnnScope scope = new OneDnnScope("a CPU stream");
        private final MemorySegment stream =
                scope.create(
                        "dnnl_stream_create",
                        OneDnn.STREAM_DESTROY,
                        out ->
                                (int)
                                        OneDnn.STREAM_CREATE.invokeExact(
                                                out, engine, OneDnn.IN_ORDER));
        private final LinkedHashMap<OneDnnMatmul.Key, OneDnnMatmul> primitives =
                new LinkedHashMap<>(64, 0.75f, true);
        private Arena scratchOwner = Arena.ofShared();
        private MemorySegment scratch = scratchOwner.allocate(1 << 16, 4096);

        void matmul(Product p) {
            OneDnnMatmul.Key key = OneDnnMatmul.Key.of(p);
            OneDnnMatmul primitive = primitives.get(key);
            if (primitive == null) {
                primitive = new OneDnnMatmul(engine, key);
                primitives.put(key, primitive);
                if (primitives.size() > KEPT) {
                    primitives.pollFirstEntry().getValue().close();
                }
                reserve(primitive.scratchBytes());
            }
            primitive.execute(stream, p, scratch);
        }

        private void reserve(long bytes) {
            if (bytes > scratch.byteSize()) {
                scratchOwner.close();
                scratchOwner = Arena.ofShared();
                scratch = scratchOwner.allocate(bytes, 4096);
            }
        }

        @Override
        public void close() {
            primitives.values().forEach(OneDnnMatmul::close);
            primitives.clear();
            scratchOwner.close();
            scope.close();
        }
    }

    @Override
    public void close() {
        closed = true;
        vector.close();
        for (Session session; (session = idle.poll()) != null; ) {
            session.close();
        }
        scope.close();
    }
}
