package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.DropoutKernel;
import jlora.runtime.kernel.Philox;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

/** {@link DropoutKernel} by definition. */
public final class ReferenceDropout implements DropoutKernel {
    @Override
    public void forward(Tensor out, Tensor x, float p, Tensor rng, int stream) {
        apply(Grad.overwrite(out), x, p, rng, stream);
    }

    @Override
    public void backward(Grad dx, Tensor dOut, float p, Tensor rng, int stream) {
        apply(dx, dOut, p, rng, stream);
    }

    private static void apply(Grad to, Tensor from, float p, Tensor rng, int stream) {
        int seedLow = Elements.getInt(rng, 0, 0);
        int seedHigh = Elements.getInt(rng, 0, 1);
        int microBatch = Elements.getInt(rng, 0, 2);
        long threshold = Philox.dropThreshold(p);
        int[] words = new int[Philox.WORDS];
        for (long t = 0; t < from.rows(); t++) {
            for (long c = 0; c < from.cols(); c++) {
                long e = t * from.cols() + c;
                Philox.dropoutWords(words, 0, seedLow, seedHigh, e / 4, stream, microBatch);
                boolean kept = Philox.keeps(words[(int) (e % 4)], threshold);
                Elements.put(to, t, c, kept ? Elements.get(from, t, c) / (1 - (double) p) : 0);
            }
        }
    }
}
