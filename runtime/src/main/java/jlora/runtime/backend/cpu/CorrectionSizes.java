package jlora.runtime.backend.cpu;

import jlora.runtime.kernel.Corrections.Kind;

import java.util.EnumMap;
import java.util.Map;

/** What each form of record would take for each rectangle of a matrix, and which is least. */
final class CorrectionSizes {
    private final MergeStripes stripes;
    private final int width;
    private final int[] corrected;
    private final int[] sparse;
    private final int[] listed;

    CorrectionSizes(MergeStripes stripes, int width) {
        this.stripes = stripes;
        this.width = width;
        this.corrected = new int[stripes.count()];
        this.sparse = new int[stripes.count()];
        this.listed = new int[stripes.count()];
    }

    int width() {
        return width;
    }

    /** Counts one correction; each rectangle is one thread's. */
    void count(int stripe, int skipped, int before, int back) {
        corrected[stripe]++;
        sparse[stripe] += SparseCorrections.size(skipped, before, back, width);
        listed[stripe] += CodedCorrections.listed(before, back) ? 1 : 0;
    }

    long corrected() {
        long sum = 0;
        for (int count : corrected) {
            sum += count;
        }
        return sum;
    }

    Kind cheapest() {
        if (corrected() == 0) {
            return Kind.NONE;
        }
        Map<Kind, Long> totals = new EnumMap<>(Kind.class);
        for (Kind kind : new Kind[] {Kind.SPARSE, Kind.CODES, Kind.COPY}) {
            totals.put(kind, offsets(kind)[stripes.count()]);
        }
        return totals.entrySet().stream().min(Map.Entry.comparingByValue()).orElseThrow().getKey();
    }

    /** Where each rectangle's bytes begin, and at the end all bytes. */
    long[] offsets(Kind kind) {
        long[] offsets = new long[stripes.count() + 1];
        for (int i = 0; i < stripes.count(); i++) {
            int elements = stripes.stripe(i).elements();
            offsets[i + 1] =
                    offsets[i]
                            + switch (kind) {
                                case NONE -> 0;
                                case SPARSE -> sparse[i];
                                case CODES -> CodedCorrections.codes(elements) + listed[i] * width;
                                case COPY -> elements * width;
                            };
        }
        return offsets;
    }
}
