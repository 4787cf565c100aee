package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.Correction;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.Bf16;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.ValueLayout;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/** {@link MergeKernel} by definition; its record is a plain list of positions and weights. */
public final class ReferenceMerge implements MergeKernel {
    private static final class Weights implements Correction {
        private final Map<Long, Float> byPosition = new LinkedHashMap<>();
        private final int width;

        Weights(int width) {
            this.width = width;
        }

        @Override
        public Kind kind() {
            return byPosition.isEmpty() ? Kind.NONE : Kind.SPARSE;
        }

        @Override
        public long corrected() {
            return byPosition.size();
        }

        @Override
        public long bytes() {
            return corrected() * (Long.BYTES + width);
        }

        @Override
        public void close() {
            byPosition.clear();
        }
    }

    @Override
    public Optional<Correction> prepare(Tensor w, Tensor a, Tensor b) {
        Weights record = new Weights(w.dtype().bytes());
        for (long i = 0; i < w.rows(); i++) {
            for (long j = 0; j < w.cols(); j++) {
                float delta = delta(a, b, i, j);
                float before = (float) Elements.get(w, i, j);
                float merged = round(w, before + delta);
                if (!Float.isFinite(merged)) {
                    return Optional.empty();
                }
                float back = round(w, merged - delta);
                if (Float.floatToRawIntBits(back) != Float.floatToRawIntBits(before)) {
                    record.byPosition.put(i * w.cols() + j, before);
                }
            }
        }
        return Optional.of(record);
    }

    @Override
    public void merge(Tensor w, Tensor a, Tensor b, Correction correction) {
        for (long i = 0; i < w.rows(); i++) {
            for (long j = 0; j < w.cols(); j++) {
                Elements.set(w, i, j, round(w, (float) Elements.get(w, i, j) + delta(a, b, i, j)));
            }
        }
    }

    @Override
    public void unmerge(Tensor w, Tensor a, Tensor b, Correction correction) {
        Weights record = (Weights) correction;
        for (long i = 0; i < w.rows(); i++) {
            for (long j = 0; j < w.cols(); j++) {
                float back = round(w, (float) Elements.get(w, i, j) - delta(a, b, i, j));
                float before = record.byPosition.getOrDefault(i * w.cols() + j, back);
                Elements.set(w, i, j, before);
            }
        }
    }

    @Override
    public long fingerprint(Tensor tensor) {
        long rowBytes = tensor.cols() * tensor.dtype().bytes();
        long words = (rowBytes + 7) / 8;
        long sum = 0;
        for (long row = 0; row < tensor.rows(); row++) {
            for (long i = 0; i < words; i++) {
                long word = 0;
                for (long at = 8 * i; at < Math.min(8 * i + 8, rowBytes); at++) {
                    long value =
                            tensor.segment()
                                    .get(ValueLayout.JAVA_BYTE, tensor.byteOffset(row) + at);
                    word |= (value & 0xFFL) << 8 * (at - 8 * i);
                }
                sum += MergeKernel.mix(word, row * words + i);
            }
        }
        return sum;
    }

    private static float delta(Tensor a, Tensor b, long i, long j) {
        float sum = 0;
        for (long k = 0; k < a.rows(); k++) {
            sum = Math.fma((float) Elements.get(b, i, k), (float) Elements.get(a, k, j), sum);
        }
        return sum;
    }

    private static float round(Tensor to, float value) {
        return to.dtype() == DType.BF16 ? Bf16.toFloat(Bf16.fromFloat(value)) : value;
    }
}
