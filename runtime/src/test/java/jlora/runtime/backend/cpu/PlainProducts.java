package jlora.runtime.backend.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** Products by their definition, accumulated in double: for tests of the kernels that use them. */
final class PlainProducts implements Products {
    @Override
    public String describe() {
        return "plain";
    }

    @Override
    public void f32(int m, int n, int k, float alpha, Operand a, Operand b, float beta, Operand c) {
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                double sum = 0;
                for (int l = 0; l < k; l++) {
                    sum += (double) get(a, i, l) * get(b, l, j);
                }
                long at = c.byteOffset() + 4 * (i * c.leading() + j);
                MemorySegment to = c.segment();
                float old = beta == 0 ? 0 : beta * to.get(ValueLayout.JAVA_FLOAT, at);
                to.set(ValueLayout.JAVA_FLOAT, at, (float) (alpha * sum) + old);
            }
        }
    }

    private static float get(Operand operand, int row, int col) {
        long index =
                operand.transposed()
                        ? col * operand.leading() + row
                        : row * operand.leading() + col;
        return operand.segment().get(ValueLayout.JAVA_FLOAT, operand.byteOffset() + 4 * index);
    }

    @Override
    public void bf16(
            int m,
            int n,
            int k,
            float alpha,
            Operand a,
            Operand b,
            float beta,
            Operand c,
            boolean bf16Result) {
        throw new UnsupportedOperationException("these kernels multiply in f32");
    }

    @Override
    public void close() {}
}
