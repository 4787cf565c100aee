package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaFunction;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.DeviceBuffer;
import jlora.cu.driver.DeviceInfo;
import jlora.cu.driver.KernelArgs;
import jlora.cu.driver.LaunchShape;
import jlora.runtime.Resources;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * The compiled kernels, the stream they run on, and scratch memory: what every op of the backend is
 * built from. All calls come from the backend's one thread.
 */
final class CudaKernels implements AutoCloseable {
    /**
     * Scratch of kernels that work in two passes. A fixed amount, so that a plan cannot run out of
     * it: kernels choose how far they split by what fits.
     */
    static final long SCRATCH_BYTES = 64L << 20;

    private final CudaContext context;
    private final CudaStream stream;
    private final KernelModules modules;
    private final DeviceBuffer scratch;
    private final DeviceTables tables;
    private final Map<String, CudaFunction> functions = new HashMap<>();

    /** The same kernels on another stream, for what needs no scratch. */
    CudaKernels beside(CudaStream other) {
        return new CudaKernels(this, other);
    }

    private CudaKernels(CudaKernels main, CudaStream stream) {
        this.context = main.context;
        this.stream = stream;
        this.modules = main.modules;
        this.tables = main.tables;
        this.scratch = null;
    }

    CudaKernels(CudaContext context, CudaStream stream, KernelModules modules) {
        this.context = context;
        this.stream = stream;
        this.modules = modules;
        this.scratch = context.allocate("kernel scratch", SCRATCH_BYTES);
        try {
            this.tables = new DeviceTables(context, stream);
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, scratch);
            throw e;
        }
    }

    DeviceInfo device() {
        return context.device();
    }

    CudaContext context() {
        return context;
    }

    CudaStream stream() {
        return stream;
    }

    /**
     * Address of scratch memory, for the next kernels of this call: an op that starts later uses
     * the same bytes, after them in the same stream.
     */
    long scratch(long bytes) {
        if (bytes > SCRATCH_BYTES) {
            throw new IllegalArgumentException(
                    bytes + " bytes of scratch, there are " + SCRATCH_BYTES);
        }
        if (scratch == null) {
            throw new IllegalStateException("no scratch beside the compute stream");
        }
        return scratch.address();
    }

    /** Constant tables that launches name. */
    DeviceTables tables() {
        return tables;
    }

    /** A kernel by its whole name. */
    CudaFunction function(String name) {
        return functions.computeIfAbsent(name, modules::function);
    }

    /** Begins a launch of the kernel for a storage type: {@code stem_f32} or {@code stem_bf16}. */
    Call call(String stem, DType dtype) {
        return call(stem + suffix(dtype));
    }

    /** Begins a launch. */
    Call call(String name) {
        return new Call(function(name), stream.args());
    }

    static String suffix(DType dtype) {
        return switch (dtype) {
            case F32 -> "_f32";
            case BF16 -> "_bf16";
            case I32, U8, F8_E4M3 ->
                    throw new IllegalArgumentException("no kernels over " + dtype.torchName());
        };
    }

    /** True when every row of a tensor starts at a multiple of 16 bytes and has whole ones. */
    static boolean aligned(Tensor... tensors) {
        for (Tensor t : tensors) {
            int width = t.dtype().bytes();
            boolean rows = t.rows() == 1 || t.stride() * width % 16 == 0;
            if (t.address() % 16 != 0 || !rows || t.cols() * width % 16 != 0) {
                return false;
            }
        }
        return true;
    }

    @Override
    public void close() {
        tables.close();
        scratch.close();
    }

    /** The arguments of a launch, in the order of the kernel's parameters. */
    final class Call {
        private final CudaFunction function;
        private final KernelArgs args;

        private Call(CudaFunction function, KernelArgs args) {
            this.function = function;
            this.args = args;
        }

        /** The address of the first element; strides are arguments of their own. */
        Call tensor(Tensor tensor) {
            args.pointer(tensor.address());
            return this;
        }

        Call pointer(long address) {
            args.pointer(address);
            return this;
        }

        /** Address and stride of a matrix. */
        Call rows(Tensor tensor) {
            return tensor(tensor).i64(tensor.stride());
        }

        /** The same, or a null pointer and 0. */
        Call rows(Optional<Tensor> tensor) {
            return tensor.isPresent() ? rows(tensor.get()) : none().i64(0);
        }

        /** The three arguments that say how flat buffers are covered. */
        Call span(FlatSpan span) {
            return i64(span.head()).i64(span.packs()).i64(span.count());
        }

        /** An int that is 0 or 1. */
        Call flag(boolean value) {
            return i32(value ? 1 : 0);
        }

        /** A null pointer, for what is not there. */
        Call none() {
            args.pointer(0);
            return this;
        }

        Call i32(long value) {
            args.i32(Math.toIntExact(value));
            return this;
        }

        Call i64(long value) {
            args.i64(value);
            return this;
        }

        Call f32(float value) {
            args.f32(value);
            return this;
        }

        Call f64(double value) {
            args.f64(value);
            return this;
        }

        /** A plain structure by value. */
        Call structure(MemorySegment bytes) {
            args.structure(bytes);
            return this;
        }

        void launch(LaunchShape shape) {
            stream.launch(function, shape, args);
        }
    }
}
