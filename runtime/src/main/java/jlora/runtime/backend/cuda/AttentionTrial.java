package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaStream;
import jlora.cu.driver.DeviceBuffer;
import jlora.cu.driver.PinnedBuffer;
import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.kernel.PackedSequences;
import jlora.runtime.tensor.Bf16;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/**
 * A library's attention against our own, on a small random batch of a layer's geometry, before it
 * is relied on. Libraries are closed and of many versions, and some of cuDNN's were wrong; ours
 * passes the op cases.
 */
final class AttentionTrial {
    /** A sequence beyond a tile, an empty one, a short one, and rows behind the last. */
    private static final int[] STARTS = {0, 150, 150, 240, 247, 247};

    private static final int TOKENS = 272;
    private static final int LONGEST = 150;

    /** A window that the longest sequence exceeds. */
    private static final int WINDOW = 60;

    /**
     * Root mean square of the difference, as a share of that of the values: roundings to bf16 on
     * the way make 0.5%, a wrong mask or offset more than 10%.
     */
    private static final double LIMIT = 0.02;

    private final CudaKernels kernels;
    private final CudaStream stream;
    private final AttentionKernel own;
    private final AttentionShape shape;
    private final List<Storage> storages = new ArrayList<>();
    private final Tensor cuSeqlens;
    private final Tensor qkv;
    private final Tensor dOut;
    private final Tensor[] out;
    private final Tensor[] lse;
    private final Tensor[] dQkv;

    AttentionTrial(CudaKernels kernels, AttentionKernel own, AttentionShape layer) {
        this.kernels = kernels;
        this.stream = kernels.stream();
        this.own = own;
        this.shape =
                new AttentionShape(
                        layer.heads(),
                        layer.kvHeads(),
                        layer.headDim(),
                        layer.scale(),
                        Math.min(layer.window(), WINDOW));
        this.cuSeqlens = tensor("cu_seqlens", DType.I32, 1, STARTS.length);
        this.qkv = tensor("qkv", DType.BF16, TOKENS, shape.fusedCols());
        this.dOut = tensor("d_out", DType.BF16, TOKENS, shape.queryCols());
        this.out = pair("out", DType.BF16, shape.queryCols());
        this.lse = pair("lse", DType.F32, shape.heads());
        this.dQkv = pair("d_qkv", DType.BF16, shape.fusedCols());
    }

    private Tensor[] pair(String name, DType dtype, long cols) {
        return new Tensor[] {
            tensor(name, dtype, TOKENS, cols), tensor(name + ".other", dtype, TOKENS, cols)
        };
    }

    private Tensor tensor(String name, DType dtype, long rows, long cols) {
        Tensor tensor = Tensor.dense(name, Storage.Role.WORKSPACE, dtype, rows, cols);
        storages.add(tensor.storage());
        return tensor;
    }

    /** Runs a candidate's forward and compares it. */
    void forward(String name, AttentionKernel candidate) {
        run(
                sequences -> {
                    own.forward(out[0], lse[0], qkv, sequences, shape);
                    candidate.forward(out[1], lse[1], qkv, sequences, shape);
                    compare(name, "output", out, 0, shape.queryCols());
                    compare(name, "log-sum-exp", lse, 0, shape.heads());
                });
    }

    /** Runs a candidate's backward, after our forward, and compares it. */
    void backward(String name, AttentionKernel candidate) {
        run(
                sequences -> {
                    own.forward(out[0], lse[0], qkv, sequences, shape);
                    own.backward(dQkv[0], dOut, out[0], lse[0], qkv, sequences, shape);
                    candidate.backward(dQkv[1], dOut, out[0], lse[0], qkv, sequences, shape);
                    int keys = shape.queryCols();
                    int values = keys + shape.keyCols();
                    compare(name, "gradient of queries", dQkv, 0, keys);
                    compare(name, "gradient of keys", dQkv, keys, values);
                    compare(name, "gradient of values", dQkv, values, shape.fusedCols());
                });
    }

    private interface Work {
        void run(PackedSequences sequences);
    }

    private void run(Work work) {
        long bytes = storages.stream().mapToLong(s -> MemoryArena.align(s.bytes())).sum();
        try (DeviceBuffer buffer = kernels.context().allocate("attention trial", bytes);
                MemoryArena arena =
                        MemoryArena.device("attention trial", bytes, buffer.address(), () -> {})) {
            long offset = 0;
            for (Storage storage : storages) {
                arena.place(storage, offset);
                offset += MemoryArena.align(storage.bytes());
            }
            // NaN: what is not written shows.
            stream.fill(buffer.address(), (byte) 0xff, bytes);
            Random random = new Random(1);
            upload(cuSeqlens, (host, i) -> host.setAtIndex(ValueLayout.JAVA_INT, i, STARTS[i]));
            for (Tensor values : List.of(qkv, dOut)) {
                upload(
                        values,
                        (host, i) ->
                                host.setAtIndex(
                                        ValueLayout.JAVA_SHORT,
                                        i,
                                        Bf16.fromFloat((float) random.nextGaussian())));
            }
            work.run(new PackedSequences(cuSeqlens, Optional.empty(), LONGEST));
            stream.synchronize();
        }
    }

    private interface Element {
        void set(MemorySegment host, int index);
    }

    private void upload(Tensor to, Element element) {
        try (PinnedBuffer host = kernels.context().allocatePinned("trial", to.storage().bytes())) {
            for (int i = 0; i < to.elements(); i++) {
                element.set(host.segment(), i);
            }
            stream.copyToDevice(to.address(), host.segment().address(), to.storage().bytes());
            stream.synchronize();
        }
    }

    private float[] download(Tensor from) {
        try (PinnedBuffer host =
                kernels.context().allocatePinned("trial", from.storage().bytes())) {
            stream.copyToHost(host.segment().address(), from.address(), from.storage().bytes());
            stream.synchronize();
            float[] values = new float[Math.toIntExact(from.elements())];
            for (int i = 0; i < values.length; i++) {
                values[i] =
                        from.dtype() == DType.F32
                                ? host.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i)
                                : Bf16.toFloat(
                                        host.segment().getAtIndex(ValueLayout.JAVA_SHORT, i));
            }
            return values;
        }
    }

    private void compare(String name, String what, Tensor[] pair, int firstCol, int endCol) {
        float[] expected = download(pair[0]);
        float[] got = download(pair[1]);
        int cols = (int) pair[0].cols();
        double difference = 0;
        double size = 0;
        for (int i = 0; i < expected.length; i++) {
            // Equal is what rows of no sequence must be: zero, or minus infinity.
            if (i % cols >= firstCol && i % cols < endCol && expected[i] != got[i]) {
                difference += Math.pow((double) expected[i] - got[i], 2);
            }
            if (i % cols >= firstCol && i % cols < endCol && Float.isFinite(expected[i])) {
                size += (double) expected[i] * expected[i];
            }
        }
        double share = Math.sqrt(difference / size);
        if (!(share <= LIMIT)) {
            throw new JloraException(
                    ExitCode.GPU_FAULT,
                    String.format(
                            "%s computes attention of %d/%d heads of %d columns otherwise than"
                                + " jlora's own kernels (%s, difference %.3g of the values); set"
                                + " attention: own, or install another version of it",
                            name, shape.heads(), shape.kvHeads(), shape.headDim(), what, share));
        }
    }
}
