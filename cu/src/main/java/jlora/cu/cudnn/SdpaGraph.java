package jlora.cu.cudnn;

import static jlora.cu.sys.CudnnConstants.CUDNN_DATA_BFLOAT16;
import static jlora.cu.sys.CudnnConstants.CUDNN_DATA_BOOLEAN;
import static jlora.cu.sys.CudnnConstants.CUDNN_DATA_FLOAT;
import static jlora.cu.sys.CudnnConstants.CUDNN_DATA_INT32;
import static jlora.cu.sys.CudnnConstants.CUDNN_DATA_INT64;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_ADD;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_CMP_GE;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_CMP_GT;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_CMP_LT;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_LOGICAL_AND;
import static jlora.cu.sys.CudnnConstants.CUDNN_POINTWISE_MUL;

/**
 * What forward and backward have in common: the packed tensors and the masked scores. Axes are
 * [sequence, head, position, column of the head], as cuDNN wants them; a packed tensor's sequences
 * begin at ragged offsets, and positions past a sequence's length do not count.
 *
 * <p>Operations and their order follow what cuDNN recognises as attention: products, pointwise
 * operations and reductions, which every cuDNN 9 takes, backward too. (Its single attention
 * operations, from 9.13 and 9.17 on, lack the causal mask before 9.21 and a way to ask for
 * reproducible gradients.)
 */
final class SdpaGraph implements AutoCloseable {
    final OperationGraph graph;
    final SdpaShape shape;

    /** Of one execution, which may cover a part of the shape. */
    final int sequences;

    final int heads;
    final int kvHeads;

    /** Tokens of each sequence, i32. */
    final GraphTensor lengths;

    final GraphTensor scale;

    SdpaGraph(Cudnn cudnn, String label, SdpaShape shape, int sequences, int heads) {
        this.graph = new OperationGraph(cudnn, label);
        this.shape = shape;
        this.sequences = sequences;
        this.heads = heads;
        this.kvHeads = heads / shape.group();
        this.lengths = graph.device("lengths", CUDNN_DATA_INT32, perSequence(0), ones());
        this.scale = graph.value("scale", shape.scale());
    }

    private long[] perSequence(int more) {
        return new long[] {sequences + more, 1, 1, 1};
    }

    private static long[] ones() {
        return new long[] {1, 1, 1, 1};
    }

    /** Where each sequence begins in a tensor, in elements, and where the last ends: i64. */
    GraphTensor offsets(String name) {
        return graph.device(name + " offsets", CUDNN_DATA_INT64, perSequence(1), ones());
    }

    /** Rows of bf16 heads, rowStride apart. */
    GraphTensor rows(String name, int count, long rowStride, GraphTensor offsets) {
        return graph.ragged(
                name, CUDNN_DATA_BFLOAT16, headDims(count), rowStrides(rowStride), offsets);
    }

    /** The same memory with positions as columns. */
    GraphTensor rowsTransposed(String name, int count, long rowStride, GraphTensor offsets) {
        return graph.ragged(
                name,
                CUDNN_DATA_BFLOAT16,
                transposed(headDims(count)),
                transposed(rowStrides(rowStride)),
                offsets);
    }

    long[] headDims(int count) {
        return new long[] {sequences, count, shape.longest(), shape.headDim()};
    }

    long[] rowStrides(long rowStride) {
        return new long[] {shape.longest() * rowStride, shape.headDim(), rowStride, 1};
    }

    /** One f32 per token and head, [tokens, heads of the shape]: our log-sum-exp. */
    GraphTensor perHead(String name, GraphTensor offsets) {
        long stride = shape.heads();
        return graph.ragged(
                name,
                CUDNN_DATA_FLOAT,
                perHeadDims(),
                new long[] {shape.longest() * stride, 1, stride, 1},
                offsets);
    }

    long[] perHeadDims() {
        return new long[] {sequences, heads, shape.longest(), 1};
    }

    GraphTensor perHeadVirtual(String name) {
        return graph.virtual(name, CUDNN_DATA_FLOAT, perHeadDims(), dense(perHeadDims()));
    }

    long[] scoreDims() {
        return new long[] {sequences, heads, shape.longest(), shape.longest()};
    }

    GraphTensor scores(String name, int dataType) {
        return graph.virtual(name, dataType, scoreDims(), dense(scoreDims()));
    }

    static long[] dense(long[] dims) {
        return new long[] {dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1};
    }

    static long[] transposed(long[] axes) {
        return new long[] {axes[0], axes[1], axes[3], axes[2]};
    }

    /** A product of which rows and columns are positions. */
    OperationGraph.Extent scoreExtent() {
        return new OperationGraph.Extent(lengths, lengths, null);
    }

    /** A product over positions, of which rows are positions too. */
    OperationGraph.Extent rowExtent() {
        return new OperationGraph.Extent(lengths, null, lengths);
    }

    /** scale · q·kᵀ, minus infinity where a query or key is past the end of its sequence. */
    GraphTensor scaledScores(GraphTensor q, GraphTensor kTransposed) {
        GraphTensor products = scores("q·k", CUDNN_DATA_FLOAT);
        graph.matmul(q, kTransposed, products, scoreExtent());
        return maskPadding(graph.map("scaled", CUDNN_POINTWISE_MUL, products, scale));
    }

    private GraphTensor maskPadding(GraphTensor scores) {
        GraphTensor row = graph.index("padding row", scores, 2);
        GraphTensor column = graph.index("padding column", scores, 3);
        GraphTensor inside =
                graph.map(
                        "inside",
                        CUDNN_POINTWISE_LOGICAL_AND,
                        CUDNN_DATA_BOOLEAN,
                        compare("row inside", CUDNN_POINTWISE_CMP_LT, row, lengths),
                        compare("column inside", CUDNN_POINTWISE_CMP_LT, column, lengths));
        return keep("padding", scores, inside);
    }

    /** Minus infinity where a query may not look: later positions, and those before its window. */
    GraphTensor maskBand(GraphTensor scores) {
        GraphTensor masked = scores;
        if (shape.causal()) {
            GraphTensor row = graph.index("causal row", masked, 2);
            GraphTensor column = graph.index("causal column", masked, 3);
            masked = keep("causal", masked, compare("past", CUDNN_POINTWISE_CMP_GE, row, column));
        }
        if (shape.window() > 0) {
            GraphTensor row = graph.index("window row", masked, 2);
            GraphTensor column = graph.index("window column", masked, 3);
            // cuDNN recognises a window by its f32 sum.
            GraphTensor width = graph.value("window", (float) shape.window());
            GraphTensor end = graph.map("window end", CUDNN_POINTWISE_ADD, column, width);
            masked = keep("window", masked, compare("near", CUDNN_POINTWISE_CMP_GT, end, row));
        }
        return masked;
    }

    private GraphTensor compare(String name, int mode, GraphTensor x, GraphTensor b) {
        return graph.map(name, mode, CUDNN_DATA_BOOLEAN, x, b);
    }

    private GraphTensor keep(String name, GraphTensor scores, GraphTensor condition) {
        GraphTensor otherwise = graph.value(name + " otherwise", Float.NEGATIVE_INFINITY);
        return graph.select(name + " masked", scores, otherwise, condition);
    }

    @Override
    public void close() {
        graph.close();
    }
}
