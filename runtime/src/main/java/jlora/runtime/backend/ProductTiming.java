package jlora.runtime.backend;

import jlora.runtime.Resources;
import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Optional;
import java.util.SplittableRandom;

/**
 * How fast a device multiplies matrices: the products of a linear layer over random numbers (zeros
 * would draw less power and run at higher clocks), warm, by the device's own clock.
 */
public final class ProductTiming implements AutoCloseable {
    private static final int WARM = 3;
    private static final int SAMPLES = 11;

    /** A sample of several products is at least this long, so that starting it does not show. */
    private static final double SAMPLE_MILLISECONDS = 1;

    private static final double MOST_CALLS = 50;
    private static final long SEED = 1;

    /** Which product of a layer with weight [out, in] and borders of so many rows and columns. */
    public enum Product {
        /** [tokens, in + border] · [out, in + border]ᵀ. */
        FORWARD,
        /** [tokens, out + border] · [out + border, in]. */
        BACKWARD_INPUT,
        /** [tokens, out]ᵀ · [tokens, in], in f32. */
        BACKWARD_WEIGHT
    }

    /**
     * @param border columns of a low-rank adapter that take part in the products; 0 for none
     */
    public record Shape(long tokens, long in, long out, long border, DType dtype) {
        public Shape {
            if (tokens < 1 || in < 1 || out < 1 || border < 0 || !dtype.isFloat()) {
                throw new IllegalArgumentException(
                        "no products of " + tokens + " tokens, " + out + " x " + in + " " + dtype);
            }
        }

        /** Multiplications and additions of a product. */
        public double flops(Product product) {
            return 2.0
                    * switch (product) {
                        case FORWARD -> (double) tokens * out * (in + border);
                        case BACKWARD_INPUT -> (double) tokens * in * (out + border);
                        case BACKWARD_WEIGHT -> (double) tokens * in * out;
                    };
        }
    }

    /**
     * @param milliseconds of one product, the median of the samples
     * @param least of the samples
     */
    public record Measured(Product product, Shape shape, double milliseconds, double least) {
        /** 10¹² operations a second. */
        public double teraflops() {
            return shape.flops(product) / milliseconds / 1e9;
        }
    }

    private final Backend backend;
    private final Shape shape;
    private final Resources owned = new Resources();
    private final Tensor x;
    private final Tensor weight;
    private final Tensor y;
    private final Optional<Tensor> dWeight;

    private ProductTiming(Backend backend, Shape shape, boolean gradient) {
        this.backend = backend;
        this.shape = shape;
        long border = shape.border();
        try {
            x = place("x", shape.dtype(), shape.tokens(), shape.in(), border);
            weight = place("weight", shape.dtype(), shape.out() + border, shape.in(), border);
            y = place("y", shape.dtype(), shape.tokens(), shape.out(), border);
            dWeight =
                    gradient
                            ? Optional.of(place("dWeight", DType.F32, shape.out(), shape.in(), 0))
                            : Optional.empty();
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, owned);
            throw e;
        }
    }

    /** Times one product; allocates its matrices, and frees them. */
    public static Measured measure(Backend backend, Shape shape, Product product) {
        boolean gradient = product == Product.BACKWARD_WEIGHT;
        try (ProductTiming timing = new ProductTiming(backend, shape, gradient)) {
            return timing.measure(product);
        }
    }

    private Measured measure(Product product) {
        Runnable work = work(product);
        double estimate = 0;
        for (int i = 0; i < WARM; i++) {
            estimate = backend.milliseconds(work);
        }
        int calls = (int) Math.clamp(Math.ceil(SAMPLE_MILLISECONDS / estimate), 1, MOST_CALLS);
        double[] samples = new double[SAMPLES];
        for (int i = 0; i < SAMPLES; i++) {
            samples[i] = backend.milliseconds(() -> repeat(work, calls)) / calls;
        }
        Arrays.sort(samples);
        return new Measured(product, shape, samples[SAMPLES / 2], samples[0]);
    }

    private static void repeat(Runnable work, int calls) {
        for (int i = 0; i < calls; i++) {
            work.run();
        }
    }

    private Runnable work(Product product) {
        LinearKernel linear = backend.kernels().linear();
        Tensor wideX = x.columns(0, shape.in() + shape.border());
        Tensor wideY = y.columns(0, shape.out() + shape.border());
        Tensor wideWeight = weight.rows(0, shape.out()).columns(0, shape.in() + shape.border());
        return switch (product) {
            case FORWARD -> () -> linear.forward(y, wideX, wideWeight, Optional.empty());
            case BACKWARD_INPUT -> () -> linear.backwardInput(Grad.overwrite(x), wideY, weight);
            case BACKWARD_WEIGHT ->
                    () -> linear.backwardWeight(Grad.overwrite(dWeight.orElseThrow()), y, x, 1);
        };
    }

    private Tensor place(String name, DType dtype, long rows, long cols, long pad) {
        Tensor tensor = Tensor.padded(name, Storage.Role.WORKSPACE, dtype, rows, cols, pad);
        MemoryArena arena = owned.own(backend.allocate(name, tensor.storage().bytes()));
        arena.place(tensor.storage(), 0);
        fill(tensor.columns(0, cols + pad));
        return tensor;
    }

    /** Rows of random numbers, the same ones every so many rows. */
    private void fill(Tensor tensor) {
        long rows = Math.min(tensor.rows(), Math.max(1, (1 << 20) / tensor.cols()));
        SplittableRandom random = new SplittableRandom(SEED);
        try (Arena arena = Arena.ofConfined()) {
            int bytes = tensor.dtype().bytes();
            MemorySegment values = arena.allocate(rows * tensor.cols() * bytes, bytes);
            for (long i = 0; i < rows * tensor.cols(); i++) {
                int bits = Float.floatToRawIntBits((float) random.nextGaussian());
                if (tensor.dtype() == DType.BF16) {
                    values.set(ValueLayout.JAVA_SHORT, i * bytes, (short) (bits >>> Short.SIZE));
                } else {
                    values.set(ValueLayout.JAVA_INT, i * bytes, bits);
                }
            }
            for (long row = 0; row < tensor.rows(); row += rows) {
                backend.upload(tensor.rows(row, Math.min(rows, tensor.rows() - row)), values);
            }
        }
    }

    @Override
    public void close() {
        owned.close();
    }
}
