package jlora.runtime.adapter.lora;

import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.MergeKernel;

import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What it takes to undo a merge.
 *
 * @param weights merged weights
 * @param weightBytes their bytes
 * @param corrected weights that subtracting the update does not give back
 * @param bytes that the correction records hold
 * @param matrices how many weight matrices have each kind of record
 */
public record MergeCost(
        long weights,
        long weightBytes,
        long corrected,
        long bytes,
        Map<Corrections.Kind, Integer> matrices) {
    public MergeCost {
        matrices = Map.copyOf(matrices);
    }

    static MergeCost of(List<MergeKernel.Part> parts, Corrections corrections) {
        long weights = 0;
        long weightBytes = 0;
        for (MergeKernel.Part part : parts) {
            weights += part.w().elements();
            weightBytes += part.w().elements() * part.w().dtype().bytes();
        }
        long corrected = 0;
        Map<Corrections.Kind, Integer> matrices = new EnumMap<>(Corrections.Kind.class);
        for (Corrections.Matrix matrix : corrections.matrices()) {
            corrected += matrix.corrected();
            matrices.merge(matrix.kind(), 1, Integer::sum);
        }
        return new MergeCost(weights, weightBytes, corrected, corrections.bytes(), matrices);
    }

    /** The share of the weights that need a correction. */
    public double correctedShare() {
        return weights == 0 ? 0 : (double) corrected / weights;
    }

    /** The records' bytes as a share of the merged weights' bytes. */
    public double byteShare() {
        return weightBytes == 0 ? 0 : (double) bytes / weightBytes;
    }

    @Override
    public String toString() {
        return String.format(
                Locale.ROOT,
                "%,d of %,d weights (%.2f %%) need a correction, %,d bytes (%.2f %% of the"
                        + " weights), records %s",
                corrected,
                weights,
                100 * correctedShare(),
                bytes,
                100 * byteShare(),
                new EnumMap<>(matrices));
    }
}
