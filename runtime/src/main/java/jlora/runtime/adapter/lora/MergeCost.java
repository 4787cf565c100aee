package jlora.runtime.adapter.lora;

import jlora.runtime.kernel.Correction;

import java.util.EnumMap;
import java.util.Locale;
import java.util.Map;

/**
 * What it takes to undo a merge.
 *
 * @param weights merged weights
 * @param weightBytes their bytes
 * @param corrected weights that subtracting the update does not give back
 * @param bytes of all correction records
 * @param matrices how many weight matrices have each kind of record
 */
public record MergeCost(
        long weights,
        long weightBytes,
        long corrected,
        long bytes,
        Map<Correction.Kind, Integer> matrices) {
    public MergeCost {
        matrices = Map.copyOf(matrices);
    }

    static MergeCost of(Iterable<LoraMerge.Part> parts) {
        long weights = 0;
        long weightBytes = 0;
        long corrected = 0;
        long bytes = 0;
        Map<Correction.Kind, Integer> matrices = new EnumMap<>(Correction.Kind.class);
        for (LoraMerge.Part part : parts) {
            weights += part.w().elements();
            weightBytes += part.w().elements() * part.w().dtype().bytes();
            corrected += part.correction().corrected();
            bytes += part.correction().bytes();
            matrices.merge(part.correction().kind(), 1, Integer::sum);
        }
        return new MergeCost(weights, weightBytes, corrected, bytes, matrices);
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
