package jlora.runtime.backend.cpu;

import jlora.runtime.tensor.DType;

import java.lang.foreign.ValueLayout;

/** Products by their definition, accumulated in double: for tests of the kernels that use them. */
final class PlainProducts implements Products {
    @Override
    public String describe() {
        return "plain";
    }

    @Override
    public boolean bf16IsFaster() {
        return false;
    }

    @Override
    public void multiply(Product p) {
        for (int i = 0; i < p.m(); i++) {
            for (int j = 0; j < p.n(); j++) {
                double sum = 0;
                for (int l = 0; l < p.k(); l++) {
                    sum += get(p.a(), p.type(), i, l) * get(p.b(), p.type(), l, j);
                }
                sum *= p.alpha();
                if (p.bias().isPresent()) {
                    sum += get(p.bias().get(), p.type(), 0, j);
                }
                if (p.accumulate()) {
                    sum += get(p.c(), p.result(), i, j);
                }
                long at = p.c().byteOffset() + p.result().bytes() * (i * p.c().leading() + j);
                float[] rounded = {(float) sum};
                Rows.store(p.c().segment(), p.result(), at, rounded, 0, 1);
            }
        }
    }

    private static double get(Operand operand, DType type, int row, int col) {
        long index =
                operand.transposed()
                        ? col * operand.leading() + row
                        : row * operand.leading() + col;
        long at = operand.byteOffset() + type.bytes() * index;
        return type == DType.F32
                ? operand.segment().get(ValueLayout.JAVA_FLOAT_UNALIGNED, at)
                : Float.intBitsToFloat(
                        operand.segment().get(ValueLayout.JAVA_SHORT_UNALIGNED, at) << 16);
    }

    @Override
    public void close() {}
}
