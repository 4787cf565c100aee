package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.tensor.Bf16;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** {@link MergeKernel} by definition; its record is a plain list of positions and weights. */
public final class ReferenceMerge implements MergeKernel {
    /** Per matrix the weights that do not come back, by their position. */
    private record Weights(List<Part> parts, List<Map<Long, Float>> lost) implements Corrections {
        private long bytes(int part) {
            return lost.get(part).size()
                    * (long) (Long.BYTES + parts.get(part).w().dtype().bytes());
        }

        @Override
        public List<Matrix> matrices() {
            List<Matrix> matrices = new ArrayList<>();
            for (int i = 0; i < lost.size(); i++) {
                Kind kind = lost.get(i).isEmpty() ? Kind.NONE : Kind.SPARSE;
                matrices.add(new Matrix(kind, lost.get(i).size(), bytes(i)));
            }
            return matrices;
        }

        @Override
        public long bytes() {
            return matrices().stream().mapToLong(Matrix::bytes).sum();
        }

        @Override
        public void close() {
            lost.clear();
        }
    }

    @Override
    public Optional<Corrections> merge(List<Part> parts) {
        List<Map<Long, Float>> lost = new ArrayList<>();
        for (Part part : parts) {
            Map<Long, Float> weights = new LinkedHashMap<>();
            if (!lost(part, weights)) {
                return Optional.empty();
            }
            lost.add(weights);
        }
        for (Part part : parts) {
            Tensor w = part.w();
            for (long i = 0; i < w.rows(); i++) {
                for (long j = 0; j < w.cols(); j++) {
                    float delta = delta(part.a(), part.b(), i, j);
                    Elements.set(w, i, j, round(w, (float) Elements.get(w, i, j) + delta));
                }
            }
        }
        return Optional.of(new Weights(List.copyOf(parts), lost));
    }

    /** Collects the weights that a merge would lose; false when it would not be finite. */
    private static boolean lost(Part part, Map<Long, Float> byPosition) {
        Tensor w = part.w();
        for (long i = 0; i < w.rows(); i++) {
            for (long j = 0; j < w.cols(); j++) {
                float delta = delta(part.a(), part.b(), i, j);
                float before = (float) Elements.get(w, i, j);
                float merged = round(w, before + delta);
                if (!Float.isFinite(merged)) {
                    return false;
                }
                float back = round(w, merged - delta);
                if (Float.floatToRawIntBits(back) != Float.floatToRawIntBits(before)) {
                    byPosition.put(i * w.cols() + j, before);
                }
            }
        }
        return true;
    }

    @Override
    public void unmerge(List<Part> parts, Corrections corrections) {
        for (int p = 0; p < parts.size(); p++) {
            Part part = parts.get(p);
            Map<Long, Float> lost = ((Weights) corrections).lost().get(p);
            Tensor w = part.w();
            for (long i = 0; i < w.rows(); i++) {
                for (long j = 0; j < w.cols(); j++) {
                    float delta = delta(part.a(), part.b(), i, j);
                    float back = round(w, (float) Elements.get(w, i, j) - delta);
                    Elements.set(w, i, j, lost.getOrDefault(i * w.cols() + j, back));
                }
            }
        }
    }

    @Override
    public long[] fingerprints(List<Tensor> tensors) {
        return tensors.stream().mapToLong(ReferenceMerge::fingerprint).toArray();
    }

    private static long fingerprint(Tensor tensor) {
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
