package jlora.cu.cublas;

import static org.junit.jupiter.api.Assertions.assertEquals;

import jlora.cu.cublas.MatmulShape.Matrix;
import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.DeviceBuffer;
import jlora.cu.driver.PinnedBuffer;

import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/** Random matrices of a shape, on the device and here. */
final class MatmulOperands implements AutoCloseable {
    private static final float ALPHA = 0.5f;

    final MatmulShape shape;
    final CudaContext context;
    final CudaStream stream;
    final float[] a;
    final float[] b;
    final float[] d;
    final float[] bias;
    final DeviceBuffer onA;
    final DeviceBuffer onB;
    final DeviceBuffer onD;
    final DeviceBuffer onBias;
    final Factors factorsOfA;
    final Factors factorsOfB;

    MatmulOperands(CudaContext context, MatmulShape shape) {
        this.shape = shape;
        this.context = context;
        stream = context.stream("products");
        a = numbers(1, shape.a(), shape.a().transposed() ? shape.m() : shape.k());
        b = numbers(2, shape.b(), shape.b().transposed() ? shape.k() : shape.n());
        d = numbers(3, shape.d(), shape.n());
        bias = numbers(4, shape.d(), 1);
        onA = upload("A", shape.a().type(), a);
        onB = upload("B", shape.b().type(), b);
        onD = upload("D", shape.d().type(), d);
        onBias = upload("bias", shape.d().type(), bias);
        factorsOfA = new Factors(this, shape.a(), (int) shape.m(), (int) shape.k());
        factorsOfB = new Factors(this, shape.b(), (int) shape.n(), (int) shape.k());
    }

    /** Which bf16 holds too; FP8 matrices hold small integers. */
    private static float[] numbers(int seed, Matrix matrix, long columns) {
        Random random = new Random(seed);
        float[] values = new float[(int) (matrix.leadingDimension() * columns)];
        for (int i = 0; i < values.length; i++) {
            if (matrix.type() == MatrixType.E4M3) {
                values[i] = random.nextInt(17) - 8;
                continue;
            }
            int bits = Float.floatToRawIntBits((float) random.nextGaussian());
            values[i] = Float.intBitsToFloat(bits & 0xffff0000);
        }
        return values;
    }

    private DeviceBuffer upload(String label, MatrixType type, float[] values) {
        DeviceBuffer buffer = context.allocate(label, (long) values.length * type.bytes());
        copyTo(buffer, type, values);
        return buffer;
    }

    private void copyTo(DeviceBuffer buffer, MatrixType type, float[] values) {
        try (PinnedBuffer host = context.allocatePinned("host", buffer.bytes())) {
            for (int i = 0; i < values.length; i++) {
                if (type == MatrixType.F32) {
                    host.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, values[i]);
                } else if (type == MatrixType.E4M3) {
                    host.segment().set(ValueLayout.JAVA_BYTE, i, e4m3((int) values[i]));
                } else {
                    short bits = (short) (Float.floatToRawIntBits(values[i]) >>> 16);
                    host.segment().setAtIndex(ValueLayout.JAVA_SHORT, i, bits);
                }
            }
            stream.copyToDevice(buffer.address(), host.segment().address(), buffer.bytes());
            stream.synchronize();
        }
    }

    /** The code of an integer up to 8. */
    private static byte e4m3(int value) {
        int magnitude = Math.abs(value);
        if (magnitude == 0) {
            return 0;
        }
        int exponent = 31 - Integer.numberOfLeadingZeros(magnitude);
        int mantissa = (magnitude << 3 >> exponent) - 8;
        return (byte) ((value < 0 ? 0x80 : 0) | exponent + 7 << 3 | mantissa);
    }

    void fillD() {
        copyTo(onD, shape.d().type(), d);
    }

    MatmulArguments arguments() {
        return new MatmulArguments(
                onA.address(),
                onB.address(),
                onD.address(),
                ALPHA,
                shape.bias() ? onBias.address() : 0,
                factorsOfA.address(),
                factorsOfB.address());
    }

    /** D after the product ran so often, and pads as they were. */
    void assertD(int times) {
        boolean f32 = shape.d().type() == MatrixType.F32;
        try (PinnedBuffer host = context.allocatePinned("host", onD.bytes())) {
            stream.copyToHost(host.segment().address(), onD.address(), onD.bytes());
            stream.synchronize();
            int stride = (int) shape.d().leadingDimension();
            for (int i = 0; i < d.length; i++) {
                float got =
                        f32
                                ? host.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i)
                                : Float.intBitsToFloat(
                                        host.segment().getAtIndex(ValueLayout.JAVA_SHORT, i) << 16);
                int row = i % stride;
                if (row >= shape.m()) {
                    assertEquals(d[i], got, 0, "a pad of " + shape);
                    continue;
                }
                double expected = expected(row, i / stride, times);
                // f32 sums of terms near one; bf16 rounds the result to 8 bits. FP8 terms reach
                // hundreds.
                double least = shape.a().type() == MatrixType.E4M3 ? 2e-3 : 2e-5;
                double tolerance = f32 ? least * times : 0.004 * Math.abs(expected) + least;
                assertEquals(expected, got, tolerance, shape + " at " + row + ", " + i / stride);
            }
        }
    }

    private double expected(int row, int column, int times) {
        double sum = 0;
        for (int l = 0; l < shape.k(); l++) {
            sum +=
                    (double) at(a, shape.a(), row, l)
                            * at(b, shape.b(), l, column)
                            * factorsOfA.at(row, l)
                            * factorsOfB.at(column, l);
        }
        return ALPHA * sum * (shape.accumulate() ? times : 1)
                + (shape.accumulate() ? at(d, shape.d(), row, column) : 0)
                + (shape.bias() ? bias[row] : 0);
    }

    private static float at(float[] values, Matrix matrix, int row, int column) {
        int stride = (int) matrix.leadingDimension();
        return values[matrix.transposed() ? row * stride + column : column * stride + row];
    }

    @Override
    public void close() {
        List.of(onA, onB, onD, onBias).forEach(DeviceBuffer::close);
        factorsOfA.close();
        factorsOfB.close();
        stream.close();
    }

    /** The factors of one FP8 matrix, laid out as the documentation of cuBLASLt says. */
    private static final class Factors implements AutoCloseable {
        private final MatrixScaling scaling;
        private final int rows;
        private final int blocks;
        private final float[] values;
        private final Optional<DeviceBuffer> buffer;

        /**
         * @param rows those that factors may differ in: m or n
         */
        Factors(MatmulOperands operands, Matrix matrix, int rows, int depth) {
            this.scaling = matrix.scaling();
            this.rows = rows;
            this.blocks = Math.ceilDiv(depth, 128);
            int count =
                    switch (scaling) {
                        case SCALAR -> 0;
                        case OUTER_VECTOR -> rows;
                        case VECTOR_128 -> blocks * rows;
                        case BLOCK_128 -> Math.ceilDiv(rows, 128) * stride();
                    };
            values = new float[count];
            for (int i = 0; i < count; i++) {
                values[i] = 0.25f + (i * 7 % 16) / 16f;
            }
            buffer =
                    count == 0
                            ? Optional.empty()
                            : Optional.of(operands.upload("factors", MatrixType.F32, values));
        }

        private int stride() {
            return Math.ceilDiv(blocks, 4) * 4;
        }

        long address() {
            return buffer.map(DeviceBuffer::address).orElse(0L);
        }

        double at(int row, int l) {
            return switch (scaling) {
                case SCALAR -> 1;
                case OUTER_VECTOR -> values[row];
                case VECTOR_128 -> values[l / 128 * rows + row];
                case BLOCK_128 -> values[row / 128 * stride() + l / 128];
            };
        }

        @Override
        public void close() {
            buffer.ifPresent(DeviceBuffer::close);
        }
    }
}
