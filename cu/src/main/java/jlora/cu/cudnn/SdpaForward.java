package jlora.cu.cudnn;

import static jlora.cu.sys.CudnnConstants.CUDNN_DATA_BFLOAT16;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_ADD;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_DIV;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_EXP;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_LOG;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_SUB;
import static jlora.cu.sys.CudnnConstants.CUDNN_REDUCE_TENSOR_ADD;
import static jlora.cu.sys.CudnnConstants.CUDNN_REDUCE_TENSOR_MAX;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * out = softmax(mask(scale · q·kᵀ)) · v as one fused kernel, and lse [tokens, heads], f32: the
 * natural logarithm of each row's sum of exponentials of masked scores. Rows of no sequence are not
 * written.
 */
public final class SdpaForward implements AutoCloseable {
    private final SdpaShape shape;
    private final ExecutionPlan plan;
    private final GraphTensor lengths;
    private final GraphTensor qkvOffsets;
    private final GraphTensor outOffsets;
    private final GraphTensor lseOffsets;
    private final GraphTensor q;
    private final GraphTensor kTransposed;
    private final GraphTensor v;
    private final GraphTensor out;
    private final GraphTensor lse;

    private SdpaForward(CudnnDevice device, SdpaShape shape) {
        this.shape = shape;
        int heads = shape.heads();
        int kvHeads = shape.kvHeads();
        SdpaGraph sdpa =
                new SdpaGraph(device.cudnn(), shape + ", forward", shape, shape.sequences(), heads);
        try {
            lengths = sdpa.lengths;
            qkvOffsets = sdpa.offsets("qkv");
            outOffsets = sdpa.offsets("out");
            lseOffsets = sdpa.offsets("lse");
            q = sdpa.rows("q", heads, shape.qkvStride(), qkvOffsets);
            kTransposed = sdpa.rowsTransposed("k", kvHeads, shape.qkvStride(), qkvOffsets);
            v = sdpa.rows("v", kvHeads, shape.qkvStride(), qkvOffsets);
            out = sdpa.rows("out", heads, shape.outStride(), outOffsets);
            lse = sdpa.perHead("lse", lseOffsets);
            record(sdpa);
        } catch (RuntimeException | Error e) {
            sdpa.close();
            throw e;
        }
        plan = ExecutionPlan.of(sdpa.graph, device, Optional.empty());
    }

    private void record(SdpaGraph sdpa) {
        OperationGraph graph = sdpa.graph;
        GraphTensor scores = sdpa.maskBand(sdpa.scaledScores(q, kTransposed));
        GraphTensor most = sdpa.perHeadVirtual("most");
        graph.reduce(CUDNN_REDUCE_TENSOR_MAX, scores, most);
        GraphTensor below = graph.map("below", CUDNN_POINTWISE_SUB, scores, most);
        GraphTensor powers = graph.map("powers", CUDNN_POINTWISE_EXP, below);
        GraphTensor sum = sdpa.perHeadVirtual("sum");
        graph.reduce(CUDNN_REDUCE_TENSOR_ADD, powers, sum);
        GraphTensor log = graph.map("log", CUDNN_POINTWISE_LOG, sum);
        graph.mapInto(lse, CUDNN_POINTWISE_ADD, most, log);
        GraphTensor shares = sdpa.scores("shares", CUDNN_DATA_BFLOAT16);
        graph.mapInto(shares, CUDNN_POINTWISE_DIV, powers, sum);
        graph.matmul(shares, v, out, sdpa.rowExtent());
    }

    /**
     * Compiles the kernel, for a second or so; the same arguments give the same kernel in every
     * run.
     *
     * @throws UnsupportedByCudnnException when this cuDNN has none for this device and shape
     */
    public static SdpaForward build(CudnnDevice device, SdpaShape shape) {
        SdpaSupport.require(
                SdpaSupport.againstForward(
                        device.cudnn().version(), device.computeCapability(), shape));
        return new SdpaForward(device, shape);
    }

    /** Device memory that an execution writes in, aligned to 256 bytes. */
    public long workspaceBytes() {
        return plan.workspaceBytes();
    }

    /**
     * Starts it in the handle's stream, also under capture. Addresses are those of row 0, of the
     * device, and multiples of 16.
     */
    public void execute(
            long qkvAddress,
            long outAddress,
            long lseAddress,
            SdpaSequences sequences,
            long workspaceAddress) {
        plan.execute(addresses(qkvAddress, outAddress, lseAddress, sequences), workspaceAddress);
    }

    private Map<GraphTensor, Long> addresses(
            long qkvAddress, long outAddress, long lseAddress, SdpaSequences sequences) {
        Map<GraphTensor, Long> addresses = new HashMap<>();
        addresses.put(lengths, sequences.lengths());
        addresses.put(qkvOffsets, sequences.qkvOffsets());
        addresses.put(outOffsets, sequences.outOffsets());
        addresses.put(lseOffsets, sequences.lseOffsets());
        addresses.put(q, qkvAddress);
        addresses.put(kTransposed, qkvAddress + shape.kColumn() * Short.BYTES);
        addresses.put(v, qkvAddress + shape.vColumn() * Short.BYTES);
        addresses.put(out, outAddress);
        addresses.put(lse, lseAddress);
        return addresses;
    }

    String description() {
        return plan.description();
    }

    @Override
    public void close() {
        plan.close();
    }
}
