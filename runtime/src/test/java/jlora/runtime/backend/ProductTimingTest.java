package jlora.runtime.backend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.ProductTiming.Measured;
import jlora.runtime.backend.ProductTiming.Product;
import jlora.runtime.backend.ProductTiming.Shape;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.tensor.DType;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class ProductTimingTest {
    @ParameterizedTest
    @EnumSource(Product.class)
    void timesEveryProductWithAndWithoutBorders(Product product) {
        try (Backend backend = new ReferenceBackend()) {
            for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
                for (long border : new long[] {0, 8}) {
                    Shape shape = new Shape(5, 7, 3, border, dtype);
                    Measured measured = ProductTiming.measure(backend, shape, product);
                    assertTrue(measured.least() > 0, measured.toString());
                    assertTrue(measured.milliseconds() >= measured.least(), measured.toString());
                }
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Product.class)
    void countsOperations(Product product) {
        Shape shape = new Shape(10, 20, 30, 4, DType.BF16);
        double expected =
                switch (product) {
                    case FORWARD -> 2 * 10 * 30 * 24;
                    case BACKWARD_INPUT -> 2 * 10 * 20 * 34;
                    case BACKWARD_WEIGHT -> 2 * 10 * 20 * 30;
                };
        assertEquals(expected, shape.flops(product));
        Measured measured = new Measured(product, shape, 0.5, 0.4);
        assertEquals(expected / 0.5e-3 / 1e12, measured.teraflops(), 1e-18);
    }
}
