package jlora.runtime.backend.cuda;

import jlora.cu.CudaLibraries;
import jlora.cu.cudnn.Cudnn;
import jlora.cu.cudnn.CudnnHandle;
import jlora.cu.cudnn.SdpaBackward;
import jlora.cu.cudnn.SdpaForward;
import jlora.cu.cudnn.SdpaSequences;
import jlora.cu.cudnn.SdpaShape;
import jlora.cu.cudnn.UnsupportedByCudnnException;
import jlora.cu.driver.DeviceBuffer;
import jlora.cu.driver.LaunchShape;
import jlora.runtime.Resources;
import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * {@link AttentionKernel} by cuDNN's fused kernels, for what they can do: ask before each call. The
 * graph of a shape is built when it is first asked about, which takes seconds; that happens while a
 * plan runs for the first time, before it is captured.
 */
final class CudnnAttention implements AttentionKernel, AutoCloseable {
    /**
     * Memory for gradients, whose sums cuDNN on Hopper makes reproducible by storing all scores:
     * with less it goes over fewer heads at a time. This takes 8 heads of 4,096 tokens at once.
     */
    static final long WORKSPACE_BYTES = 256L << 20;

    private static final int THREADS = 128;

    /** What cuDNN has for a shape: a graph, or the reason why not. */
    private record Built<G extends AutoCloseable>(Optional<G> graph, String refusal) {}

    private record BackwardKey(SdpaShape shape, long dOutStride, long dQkvStride) {}

    private final CudaKernels kernels;
    private final Resources owned = new Resources();
    private final Cudnn cudnn;
    private final CudnnHandle handle;
    private final DeviceBuffer workspace;
    private final Map<SdpaShape, Built<SdpaForward>> forwards = new HashMap<>();
    private final Map<BackwardKey, Built<SdpaBackward>> backwards = new HashMap<>();

    /**
     * @throws UnsupportedByCudnnException when the installed cuDNN is too old
     */
    CudnnAttention(CudaLibraries libraries, CudaKernels kernels) {
        this.kernels = kernels;
        this.cudnn = Cudnn.open(libraries.cudnn());
        if (cudnn.version() < Cudnn.OLDEST) {
            throw new UnsupportedByCudnnException(
                    "cuDNN " + cudnn.versionText() + " is too old for attention");
        }
        try {
            this.handle = owned.own(CudnnHandle.open(cudnn, kernels.device(), kernels.stream()));
            this.workspace =
                    owned.own(kernels.context().allocate("cuDNN workspace", WORKSPACE_BYTES));
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, owned);
            throw e;
        }
    }

    String describe() {
        return "cuDNN " + cudnn.versionText();
    }

    /** Why not, in one sentence; empty when {@link #forward} can be called with the same. */
    Optional<String> againstForward(
            Tensor out, Tensor lse, Tensor qkv, PackedSequences sequences, AttentionShape shape) {
        return against(lse, sequences, qkv, out)
                .or(() -> refusal(forward(shape(out, qkv, sequences, shape))));
    }

    /**
     * The same for {@link #backward}.
     *
     * @param mostPasses over the batch: more are slower than our kernels
     */
    Optional<String> againstBackward(
            Tensor dQkv,
            Tensor dOut,
            Tensor out,
            Tensor lse,
            Tensor qkv,
            PackedSequences sequences,
            AttentionShape shape,
            int mostPasses) {
        return against(lse, sequences, qkv, out, dOut, dQkv)
                .or(
                        () -> {
                            Built<SdpaBackward> built =
                                    backward(shape(out, qkv, sequences, shape), dOut, dQkv);
                            return refusal(built)
                                    .or(
                                            () ->
                                                    built.graph()
                                                            .filter(g -> g.passes() > mostPasses)
                                                            .map(CudnnAttention::tooManyPasses));
                        });
    }

    private static String tooManyPasses(SdpaBackward graph) {
        return "cuDNN goes over the batch " + graph.passes() + " times for reproducible gradients";
    }

    private static Optional<String> refusal(Built<?> built) {
        return built.graph().isPresent() ? Optional.empty() : Optional.of(built.refusal());
    }

    private static Optional<String> against(Tensor lse, PackedSequences sequences, Tensor... rows) {
        if (sequences.keyMask().isPresent()) {
            return Optional.of("cuDNN cannot hide keys (the batch has an attention mask)");
        }
        if (rows[0].dtype() != DType.BF16) {
            return Optional.of("cuDNN's attention needs dtype bfloat16");
        }
        if (!CudaKernels.aligned(rows) || !lse.isDense()) {
            return Optional.of("cuDNN's attention needs rows at multiples of 16 bytes");
        }
        return sequences.count() == 0
                ? Optional.of("cuDNN's attention needs a sequence")
                : Optional.empty();
    }

    private static SdpaShape shape(
            Tensor out, Tensor qkv, PackedSequences sequences, AttentionShape shape) {
        int tokens = Math.toIntExact(qkv.rows());
        return new SdpaShape(
                tokens,
                Math.toIntExact(sequences.count()),
                Math.clamp(sequences.longest(), 1, tokens),
                shape.heads(),
                shape.kvHeads(),
                shape.headDim(),
                qkv.stride(),
                out.stride(),
                shape.scale(),
                true,
                shape.window());
    }

    private interface Build<G> {
        G get();
    }

    private <G extends AutoCloseable> Built<G> build(Build<G> build) {
        try {
            return new Built<>(Optional.of(owned.own(build.get())), "");
        } catch (UnsupportedByCudnnException e) {
            return new Built<>(Optional.empty(), e.getMessage());
        }
    }

    private Built<SdpaForward> forward(SdpaShape shape) {
        return forwards.computeIfAbsent(
                shape,
                s ->
                        build(
                                () -> {
                                    SdpaForward graph = SdpaForward.build(handle, s);
                                    if (graph.workspaceBytes() > WORKSPACE_BYTES) {
                                        graph.close();
                                        throw new UnsupportedByCudnnException(
                                                "cuDNN's attention needs a workspace of "
                                                        + graph.workspaceBytes()
                                                        + " bytes");
                                    }
                                    return graph;
                                }));
    }

    private Built<SdpaBackward> backward(SdpaShape shape, Tensor dOut, Tensor dQkv) {
        return backwards.computeIfAbsent(
                new BackwardKey(shape, dOut.stride(), dQkv.stride()),
                key ->
                        build(
                                () ->
                                        SdpaBackward.build(
                                                handle,
                                                key.shape,
                                                key.dOutStride,
                                                key.dQkvStride,
                                                WORKSPACE_BYTES)));
    }

    @Override
    public void forward(
            Tensor out, Tensor lse, Tensor qkv, PackedSequences sequences, AttentionShape shape) {
        SdpaForward graph = forward(shape(out, qkv, sequences, shape)).graph().orElseThrow();
        SdpaSequences places = places(qkv, out, lse, out, qkv, sequences);
        graph.execute(qkv.address(), out.address(), lse.address(), places, workspace.address());
        clear(out, Optional.of(lse), sequences);
    }

    @Override
    public void backward(
            Tensor dQkv,
            Tensor dOut,
            Tensor out,
            Tensor lse,
            Tensor qkv,
            PackedSequences sequences,
            AttentionShape shape) {
        SdpaBackward graph =
                backward(shape(out, qkv, sequences, shape), dOut, dQkv).graph().orElseThrow();
        SdpaSequences places = places(qkv, out, lse, dOut, dQkv, sequences);
        graph.execute(
                qkv.address(),
                out.address(),
                lse.address(),
                dOut.address(),
                dQkv.address(),
                places,
                workspace.address());
        clear(dQkv, Optional.empty(), sequences);
    }

    /** Writes where the sequences lie, as cuDNN reads it, into scratch memory. */
    private SdpaSequences places(
            Tensor qkv,
            Tensor out,
            Tensor lse,
            Tensor dOut,
            Tensor dQkv,
            PackedSequences sequences) {
        int count = Math.toIntExact(sequences.count());
        SdpaSequences places = SdpaSequences.at(kernels.scratch(SdpaSequences.bytes(count)), count);
        kernels.call("attention_sequences_offsets")
                .pointer(places.qkvOffsets())
                .i64(SdpaSequences.row(count) / Long.BYTES)
                .pointer(places.lengths())
                .tensor(sequences.cuSeqlens())
                .i32(count)
                .i64(qkv.stride())
                .i64(out.stride())
                .i64(lse.stride())
                .i64(dOut.stride())
                .i64(dQkv.stride())
                .launch(LaunchShape.of(1, THREADS));
        return places;
    }

    /** Rows that belong to no sequence. */
    private void clear(Tensor rows, Optional<Tensor> lse, PackedSequences sequences) {
        CudaKernels.Call call =
                kernels.call("attention_sequences_clear", rows.dtype())
                        .tensor(rows)
                        .i64(rows.stride())
                        .i32(rows.cols());
        lse.ifPresentOrElse(call::tensor, call::none);
        call.i64(lse.map(Tensor::stride).orElse(0L))
                .i32(lse.map(Tensor::cols).orElse(0L))
                .tensor(sequences.cuSeqlens())
                .i32(sequences.count())
                .i32(rows.rows())
                .launch(LaunchShape.of(kernels.device().multiprocessors(), THREADS));
    }

    /** Waits for the device. */
    @Override
    public void close() {
        owned.close();
    }
}
