package jlora.runtime.backend.cpu;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import jlora.runtime.tensor.DType;

import java.lang.foreign.MemorySegment;

/**
 * One matmul primitive of oneDNN for one shape, with the memory objects that tell it where the
 * operands are: used by one thread at a time. Its generated code is shared by equal primitives
 * through oneDNN's own cache.
 */
final class OneDnnMatmul implements AutoCloseable {
    /** Everything that the generated code depends on. */
    record Key(
            int m,
            int n,
            int k,
            long lda,
            long ldb,
            long ldc,
            boolean aTransposed,
            boolean bTransposed,
            DType type,
            DType result,
            boolean bias,
            boolean accumulate,
            float alpha) {
        static Key of(Products.Product p) {
            return new Key(
                    p.m(),
                    p.n(),
                    p.k(),
                    p.a().leading(),
                    p.b().leading(),
                    p.c().leading(),
                    p.a().transposed(),
                    p.b().transposed(),
                    p.type(),
                    p.result(),
                    p.bias().isPresent(),
                    p.accumulate(),
                    p.alpha());
        }
    }

    private static final long ARGUMENT_BYTES = 16;

    private final OneDnnScope scope;
    private final MemorySegment primitive;
    private final MemorySegment a;
    private final MemorySegment b;
    private final MemorySegment c;
    private final MemorySegment bias;
    private final MemorySegment scratch;
    private final long scratchBytes;
    private final String implementation;
    private final MemorySegment arguments;
    private final int argumentCount;

    OneDnnMatmul(MemorySegment engine, Key key) {
        this.scope = new OneDnnScope(key);
        try (OneDnnScope temporary = new OneDnnScope(key)) {
            MemorySegment aDesc =
                    matrix(temporary, key.m, key.k, key.lda, key.aTransposed, key.type);
            MemorySegment bDesc =
                    matrix(temporary, key.k, key.n, key.ldb, key.bTransposed, key.type);
            MemorySegment cDesc = matrix(temporary, key.m, key.n, key.ldc, false, key.result);
            MemorySegment biasDesc =
                    key.bias
                            ? matrix(temporary, 1, key.n, key.n, false, key.type)
                            : MemorySegment.NULL;
            MemorySegment attributes = attributes(temporary, key);
            MemorySegment descriptor =
                    temporary.create(
                            "dnnl_matmul_primitive_desc_create",
                            OneDnn.PRIMITIVE_DESC_DESTROY,
                            out ->
                                    (int)
                                            OneDnn.MATMUL_DESC_CREATE.invokeExact(
                                                    out,
                                                    engine,
                                                    aDesc,
                                                    bDesc,
                                                    biasDesc,
                                                    cDesc,
                                                    attributes));
            MemorySegment scratchDesc =
                    OneDnn.address(
                            "dnnl_primitive_desc_query_md",
                            () ->
                                    (MemorySegment)
                                            OneDnn.PRIMITIVE_DESC_QUERY_MD.invokeExact(
                                                    descriptor, OneDnn.QUERY_SCRATCHPAD_MD, 0));
            this.primitive =
                    scope.create(
                            "dnnl_primitive_create",
                            OneDnn.PRIMITIVE_DESTROY,
                            out -> (int) OneDnn.PRIMITIVE_CREATE.invokeExact(out, descriptor));
            this.implementation = implementation(temporary, key, descriptor);
            this.scratchBytes = OneDnn.size(scratchDesc);
            this.a = memory(engine, aDesc);
            this.b = memory(engine, bDesc);
            this.c = memory(engine, cDesc);
            this.bias = key.bias ? memory(engine, biasDesc) : MemorySegment.NULL;
            this.scratch = memory(engine, scratchDesc);
        } catch (RuntimeException | Error e) {
            scope.close();
            throw e;
        }
        this.arguments = scope.arena().allocate(5 * ARGUMENT_BYTES, 8);
        int count = 0;
        argument(count++, OneDnn.ARG_SRC, a);
        argument(count++, OneDnn.ARG_WEIGHTS, b);
        argument(count++, OneDnn.ARG_DST, c);
        argument(count++, OneDnn.ARG_SCRATCHPAD, scratch);
        if (key.bias) {
            argument(count++, OneDnn.ARG_BIAS, bias);
        }
        this.argumentCount = count;
    }

    /** Bytes of scratch that {@link #execute} must be given. */
    long scratchBytes() {
        return scratchBytes;
    }

    /** The name that oneDNN gives to the code it chose. */
    String implementation() {
        return implementation;
    }

    void execute(MemorySegment stream, Products.Product p, MemorySegment scratchSpace) {
        point(a, p.a());
        point(b, p.b());
        point(c, p.c());
        if (p.bias().isPresent()) {
            point(bias, p.bias().get());
        }
        int status;
        try {
            status = (int) OneDnn.MEMORY_SET_HANDLE.invokeExact(scratch, scratchSpace);
            if (status == 0) {
                status =
                        (int)
                                OneDnn.PRIMITIVE_EXECUTE.invokeExact(
                                        primitive, stream, argumentCount, arguments);
            }
        } catch (Throwable t) {
            throw new AssertionError("dnnl_primitive_execute: bad binding", t);
        }
        OneDnn.check("dnnl_primitive_execute", p, status);
    }

    private void point(MemorySegment memory, Products.Operand operand) {
        int status;
        try {
            status =
                    (int)
                            OneDnn.MEMORY_SET_HANDLE.invokeExact(
                                    memory, operand.segment().asSlice(operand.byteOffset()));
        } catch (Throwable t) {
            throw new AssertionError("dnnl_memory_set_data_handle: bad binding", t);
        }
        OneDnn.check("dnnl_memory_set_data_handle", operand, status);
    }

    private void argument(int index, int kind, MemorySegment memory) {
        arguments.set(JAVA_INT, index * ARGUMENT_BYTES, kind);
        arguments.set(ADDRESS, index * ARGUMENT_BYTES + 8, memory);
    }

    private MemorySegment memory(MemorySegment engine, MemorySegment descriptor) {
        return scope.create(
                "dnnl_memory_create",
                OneDnn.MEMORY_DESTROY,
                out ->
                        (int)
                                OneDnn.MEMORY_CREATE.invokeExact(
                                        out, descriptor, engine, MemorySegment.NULL));
    }

    private static MemorySegment matrix(
            OneDnnScope scope, long rows, long cols, long leading, boolean transposed, DType type) {
        MemorySegment dims = scope.arena().allocateFrom(JAVA_LONG, rows, cols);
        MemorySegment strides =
                scope.arena()
                        .allocateFrom(
                                JAVA_LONG, transposed ? 1 : leading, transposed ? leading : 1);
        int code = type == DType.BF16 ? OneDnn.BF16 : OneDnn.F32;
        return scope.create(
                "dnnl_memory_desc_create_with_strides",
                OneDnn.MEMORY_DESC_DESTROY,
                out -> (int) OneDnn.MEMORY_DESC_CREATE.invokeExact(out, 2, dims, code, strides));
    }

    /** Scratch comes from us, and what follows the product: times alpha, plus what was there. */
    private static MemorySegment attributes(OneDnnScope scope, Key key) {
        MemorySegment attributes =
                scope.create(
                        "dnnl_primitive_attr_create",
                        OneDnn.ATTR_DESTROY,
                        out -> (int) OneDnn.ATTR_CREATE.invokeExact(out));
        OneDnn.check(
                "dnnl_primitive_attr_set_scratchpad_mode",
                key,
                () -> (int) OneDnn.ATTR_SCRATCHPAD.invokeExact(attributes, OneDnn.SCRATCHPAD_USER));
        MemorySegment postOps =
                scope.create(
                        "dnnl_post_ops_create",
                        OneDnn.POST_OPS_DESTROY,
                        out -> (int) OneDnn.POST_OPS_CREATE.invokeExact(out));
        if (key.alpha != 1f) {
            OneDnn.check(
                    "dnnl_post_ops_append_eltwise",
                    key,
                    () ->
                            (int)
                                    OneDnn.POST_OPS_ELTWISE.invokeExact(
                                            postOps, OneDnn.ELTWISE_LINEAR, key.alpha, 0f));
        }
        if (key.accumulate) {
            OneDnn.check(
                    "dnnl_post_ops_append_sum",
                    key,
                    () -> (int) OneDnn.POST_OPS_SUM.invokeExact(postOps, 1f, 0, 0));
        }
        OneDnn.check(
                "dnnl_primitive_attr_set_post_ops",
                key,
                () -> (int) OneDnn.ATTR_POST_OPS.invokeExact(attributes, postOps));
        return attributes;
    }

    private static String implementation(OneDnnScope scope, Key key, MemorySegment descriptor) {
        MemorySegment out = scope.arena().allocate(ADDRESS);
        OneDnn.check(
                "dnnl_primitive_desc_query",
                key,
                () ->
                        (int)
                                OneDnn.PRIMITIVE_DESC_QUERY.invokeExact(
                                        descriptor, OneDnn.QUERY_IMPL_INFO, 0, out));
        return OneDnn.string(out.get(ADDRESS, 0));
    }

    @Override
    public void close() {
        scope.close();
    }
}
