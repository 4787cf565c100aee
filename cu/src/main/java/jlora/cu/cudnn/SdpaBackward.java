package jlora.cu.cudnn;

import static jlora.cu.sys.CudnnConstants.CUDNN_DATA_BFLOAT16;
import static jlora.cu.sys.CudnnConstants.CUDNN_DATA_FLOAT;
import static jlora.cu.sys.CudnnConstants.CUDNN_KNOB_TYPE_KERNEL_CFG;
import static jlora.cu.sys.CudnnConstants.CUDNN_KNOB_TYPE_STAGES;
import static jlora.cu.sys.CudnnConstants.CUDNN_KNOB_TYPE_STREAM_K;
import static jlora.cu.sys.CudnnConstants.CUDNN_KNOB_TYPE_TILE_CGA_M;
import static jlora.cu.sys.CudnnConstants.CUDNN_KNOB_TYPE_TILE_M;
import static jlora.cu.sys.CudnnConstants.CUDNN_KNOB_TYPE_TILE_N;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_EXP;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_MUL;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_SUB;
import static jlora.cu.sys.CudnnConstants.CUDNN_REDUCE_TENSOR_ADD;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The gradients of {@link SdpaForward}, the same bits in every run. With p = exp(scores - lse):
 *
 * <pre>
 * dV = pᵀ·dOut      dS = p · (dOut·vᵀ - rowsum(dOut · out)) · scale
 * dQ = dS·k         dK = dSᵀ·q           (dK, dV summed over the query heads of a kv head)
 * </pre>
 *
 * <p>Summing dQ in a fixed order takes cuDNN on Hopper a workspace of the size of all scores, 2 ·
 * sequences · heads · longest² bytes. To stay within a limit the work is cut into passes of fewer
 * sequences, then of fewer heads; passes do not overlap in what they write. Rows of no sequence are
 * not written.
 */
public final class SdpaBackward implements AutoCloseable {
    /** What one pass covers. */
    private record Pass(int sequences, int heads) {
        /** Less than this no plan needs: dS of Hopper, unsummed dK and dV, rowsum. */
        long leastWorkspace(CudnnDevice device, SdpaShape shape) {
            long rows = (long) sequences * heads * shape.longest();
            long scores = device.computeCapability() < 100 ? 2 * rows * shape.longest() : 0;
            long unsummed = shape.group() > 1 ? 2 * 2 * rows * shape.headDim() : 0;
            return scores + unsummed + rows * Float.BYTES;
        }
    }

    private final SdpaShape shape;
    private final Pass pass;
    private final ExecutionPlan plan;
    private final GraphTensor lengths;
    private final GraphTensor qkvOffsets;
    private final GraphTensor outOffsets;
    private final GraphTensor lseOffsets;
    private final GraphTensor dOutOffsets;
    private final GraphTensor dQkvOffsets;
    private final GraphTensor q;
    private final GraphTensor kTransposed;
    private final GraphTensor vTransposed;
    private final GraphTensor out;
    private final GraphTensor lse;
    private final GraphTensor dOut;
    private final GraphTensor dQ;
    private final GraphTensor dK;
    private final GraphTensor dV;

    /** rowsum(dOut · out), [sequences, heads, longest]: between the kernels of one execution. */
    private final GraphTensor rowSum;

    private SdpaBackward(
            CudnnDevice device, SdpaShape shape, long dOutStride, long dQkvStride, Pass pass) {
        this.shape = shape;
        this.pass = pass;
        int heads = pass.heads();
        int kvHeads = heads / shape.group();
        SdpaGraph sdpa =
                new SdpaGraph(device.cudnn(), shape + ", backward", shape, pass.sequences(), heads);
        try {
            lengths = sdpa.lengths;
            qkvOffsets = sdpa.offsets("qkv");
            outOffsets = sdpa.offsets("out");
            lseOffsets = sdpa.offsets("lse");
            dOutOffsets = sdpa.offsets("dOut");
            dQkvOffsets = sdpa.offsets("dQkv");
            q = sdpa.rows("q", heads, shape.qkvStride(), qkvOffsets);
            kTransposed = sdpa.rowsTransposed("k", kvHeads, shape.qkvStride(), qkvOffsets);
            vTransposed = sdpa.rowsTransposed("v", kvHeads, shape.qkvStride(), qkvOffsets);
            out = sdpa.rows("out", heads, shape.outStride(), outOffsets);
            lse = sdpa.perHead("lse", lseOffsets);
            dOut = sdpa.rows("dOut", heads, dOutStride, dOutOffsets);
            dQ = sdpa.rows("dQ", heads, dQkvStride, dQkvOffsets);
            dK = sdpa.rows("dK", kvHeads, dQkvStride, dQkvOffsets);
            dV = sdpa.rows("dV", kvHeads, dQkvStride, dQkvOffsets);
            rowSum =
                    sdpa.graph.device(
                            "row sum",
                            CUDNN_DATA_FLOAT,
                            sdpa.perHeadDims(),
                            SdpaGraph.dense(sdpa.perHeadDims()));
            record(sdpa);
        } catch (RuntimeException | Error e) {
            sdpa.close();
            throw e;
        }
        plan = ExecutionPlan.of(sdpa.graph, device, reproducible(device));
    }

    private void record(SdpaGraph sdpa) {
        OperationGraph graph = sdpa.graph;
        GraphTensor products =
                graph.virtual(
                        "dOut · out",
                        CUDNN_DATA_FLOAT,
                        sdpa.headDims(pass.heads()),
                        sdpa.rowStrides((long) pass.heads() * shape.headDim()));
        graph.mapInto(products, CUDNN_POINTWISE_MUL, dOut, out);
        GraphTensor summed = sdpa.perHeadVirtual("summed");
        graph.reduce(CUDNN_REDUCE_TENSOR_ADD, products, summed);
        // The pattern has a factor here, for dropout.
        graph.mapInto(rowSum, CUDNN_POINTWISE_MUL, summed, graph.value("one", 1));

        GraphTensor below =
                graph.map("below", CUDNN_POINTWISE_SUB, sdpa.scaledScores(q, kTransposed), lse);
        GraphTensor p = graph.map("p", CUDNN_POINTWISE_EXP, sdpa.maskBand(below));
        productOverGroup(sdpa, transposed(sdpa, p), dOut, dV);

        GraphTensor dP = sdpa.scores("dP", CUDNN_DATA_FLOAT);
        graph.matmul(dOut, vTransposed, dP, sdpa.scoreExtent());
        GraphTensor centred = graph.map("dP centred", CUDNN_POINTWISE_SUB, dP, rowSum);
        GraphTensor dScaled = graph.map("dScaled", CUDNN_POINTWISE_MUL, centred, p);
        GraphTensor dS = graph.map("dS", CUDNN_POINTWISE_MUL, dScaled, sdpa.scale);
        productOverGroup(sdpa, transposed(sdpa, dS), q, dK);

        GraphTensor k =
                graph.virtualRagged(
                        "k rows",
                        CUDNN_DATA_BFLOAT16,
                        SdpaGraph.transposed(kTransposed.dims()),
                        SdpaGraph.transposed(kTransposed.strides()),
                        qkvOffsets);
        graph.reshape(kTransposed, k);
        // Straight into dQ: with an f32 sum in between, blocks would add to it in any order.
        graph.matmul(dS, k, dQ, sdpa.rowExtent());
    }

    /** scores to bf16, positions of keys first. */
    private static GraphTensor transposed(SdpaGraph sdpa, GraphTensor scores) {
        GraphTensor result =
                sdpa.graph.virtual(
                        scores.label() + " transposed",
                        CUDNN_DATA_BFLOAT16,
                        SdpaGraph.transposed(scores.dims()),
                        SdpaGraph.transposed(scores.strides()));
        sdpa.graph.reshape(scores, result);
        return result;
    }

    /** into = a·b, summed over the query heads of each kv head. */
    private void productOverGroup(SdpaGraph sdpa, GraphTensor a, GraphTensor b, GraphTensor into) {
        if (shape.group() == 1) {
            sdpa.graph.matmul(a, b, into, sdpa.rowExtent());
            return;
        }
        long[] dims = sdpa.headDims(pass.heads());
        GraphTensor unsummed =
                sdpa.graph.virtual(
                        into.label() + " unsummed",
                        CUDNN_DATA_BFLOAT16,
                        dims,
                        SdpaGraph.dense(dims));
        sdpa.graph.matmul(a, b, unsummed, sdpa.rowExtent());
        sdpa.graph.reduce(CUDNN_REDUCE_TENSOR_ADD, unsummed, into);
    }

    /**
     * Hopper: without an f32 sum of dQ the graph itself asks for it. Blackwell: one engine with one
     * setting has it, which NVIDIA/cudnn-frontend names (override_heuristics_query).
     */
    private static Optional<ExecutionPlan.EngineChoice> reproducible(CudnnDevice device) {
        if (device.computeCapability() < 100) {
            return Optional.empty();
        }
        Map<Integer, Long> knobs =
                device.cudnn().version() >= 92300
                        ? Map.of(
                                CUDNN_KNOB_TYPE_TILE_M, 3L,
                                CUDNN_KNOB_TYPE_TILE_N, 2L,
                                CUDNN_KNOB_TYPE_KERNEL_CFG, 2L,
                                CUDNN_KNOB_TYPE_STREAM_K, 0L,
                                CUDNN_KNOB_TYPE_TILE_CGA_M, 0L,
                                CUDNN_KNOB_TYPE_STAGES, 2L)
                        : Map.of(CUDNN_KNOB_TYPE_KERNEL_CFG, 31L, CUDNN_KNOB_TYPE_STAGES, 2L);
        return Optional.of(
                new ExecutionPlan.EngineChoice(device.computeCapability() > 103 ? 17 : 5, knobs));
    }

    /**
     * Compiles the kernels, for seconds.
     *
     * @param dOutStride elements from row to row of dOut
     * @param dQkvStride the same of the fused rows dQ | dK | dV
     * @param workspaceLimit bytes that {@link #workspaceBytes} has to stay within
     * @throws UnsupportedByCudnnException when this cuDNN has none for this device, shape and limit
     */
    public static SdpaBackward build(
            CudnnDevice device,
            SdpaShape shape,
            long dOutStride,
            long dQkvStride,
            long workspaceLimit) {
        SdpaSupport.require(
                SdpaSupport.againstBackward(
                        device.cudnn().version(), device.computeCapability(), shape));
        SdpaShape.requireRow("dOut", dOutStride, (long) shape.heads() * shape.headDim());
        SdpaShape.requireRow("dQkv", dQkvStride, shape.qkvColumns());
        long least = Long.MAX_VALUE;
        for (Pass pass : passes(shape)) {
            least = pass.leastWorkspace(device, shape);
            if (least <= workspaceLimit) {
                SdpaBackward backward =
                        new SdpaBackward(device, shape, dOutStride, dQkvStride, pass);
                if (backward.workspaceBytes() <= workspaceLimit) {
                    return backward;
                }
                least = backward.workspaceBytes();
                backward.close();
            }
        }
        throw new UnsupportedByCudnnException(
                "reproducible gradients of %s take cuDNN a workspace of at least %d bytes, the limit is %d"
                        .formatted(shape, least, workspaceLimit));
    }

    /** Largest first: fewer sequences at once, then of one sequence fewer heads. */
    private static List<Pass> passes(SdpaShape shape) {
        List<Pass> passes = new ArrayList<>();
        for (int sequences = shape.sequences(); sequences > 0; sequences--) {
            if (shape.sequences() % sequences == 0) {
                passes.add(new Pass(sequences, shape.heads()));
            }
        }
        for (int kvHeads = shape.kvHeads() - 1; kvHeads > 0; kvHeads--) {
            if (shape.kvHeads() % kvHeads == 0) {
                passes.add(new Pass(1, kvHeads * shape.group()));
            }
        }
        return passes;
    }

    /** Executions of the plan that one {@link #execute} starts. */
    public int passes() {
        return shape.sequences() / pass.sequences() * (shape.heads() / pass.heads());
    }

    /** Device memory that an execution writes in, aligned to 256 bytes. */
    public long workspaceBytes() {
        return planBytes() + (long) pass.sequences() * pass.heads() * shape.longest() * Float.BYTES;
    }

    private long planBytes() {
        long unit = ExecutionPlan.WORKSPACE_ALIGNMENT;
        return (plan.workspaceBytes() + unit - 1) / unit * unit;
    }

    /**
     * Starts it in the handle's stream, also under capture. Addresses are those of row 0, of the
     * device, and multiples of 16; dQkv's columns are overwritten.
     */
    public void execute(
            long qkvAddress,
            long outAddress,
            long lseAddress,
            long dOutAddress,
            long dQkvAddress,
            SdpaSequences sequences,
            long workspaceAddress) {
        Map<GraphTensor, Long> addresses = new HashMap<>();
        addresses.put(rowSum, workspaceAddress + planBytes());
        for (int first = 0; first < shape.sequences(); first += pass.sequences()) {
            SdpaSequences part = sequences.from(first);
            addresses.put(lengths, part.lengths());
            addresses.put(qkvOffsets, part.qkvOffsets());
            addresses.put(outOffsets, part.outOffsets());
            addresses.put(lseOffsets, part.lseOffsets());
            addresses.put(dOutOffsets, part.dOutOffsets());
            addresses.put(dQkvOffsets, part.dQkvOffsets());
            for (int head = 0; head < shape.heads(); head += pass.heads()) {
                long column = (long) head * shape.headDim();
                long kvColumn = column / shape.group();
                addresses.put(q, bf16(qkvAddress, column));
                addresses.put(kTransposed, bf16(qkvAddress, shape.kColumn() + kvColumn));
                addresses.put(vTransposed, bf16(qkvAddress, shape.vColumn() + kvColumn));
                addresses.put(out, bf16(outAddress, column));
                addresses.put(lse, lseAddress + (long) head * Float.BYTES);
                addresses.put(dOut, bf16(dOutAddress, column));
                addresses.put(dQ, bf16(dQkvAddress, column));
                addresses.put(dK, bf16(dQkvAddress, shape.kColumn() + kvColumn));
                addresses.put(dV, bf16(dQkvAddress, shape.vColumn() + kvColumn));
                plan.execute(addresses, workspaceAddress);
            }
        }
    }

    private static long bf16(long address, long elements) {
        return address + elements * Short.BYTES;
    }

    String description() {
        return plan.description();
    }

    @Override
    public void close() {
        plan.close();
    }
}
