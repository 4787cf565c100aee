package jlora.runtime.kernel;

import jlora.runtime.kernel.FourBitMatrix.Type;

/**
 * What codes mean and where they change, as bitsandbytes publishes it. The CUDA kernels have their
 * own copy (native-kernels, four_bit.cu); the op cases compare the two.
 */
public final class FourBitTables {
    /** Codes of a type. */
    public static final int CODES = 16;

    /** Codes of the scales' scale. */
    public static final int SCALE_CODES = 256;

    /** The sign in a code of FP4. */
    public static final int FP4_SIGN = 8;

    /** Scales below are taken for this when elements are divided by them. */
    private static final float LEAST_SCALE = 1e-38f;

    private static final float[] NF4 = {
        -1f,
        -0.6961928009986877f,
        -0.5250730514526367f,
        -0.39491748809814453f,
        -0.28444138169288635f,
        -0.18477343022823334f,
        -0.09105003625154495f,
        0f,
        0.07958029955625534f,
        0.16093020141124725f,
        0.24611230194568634f,
        0.33791524171829224f,
        0.44070982933044434f,
        0.5626170039176941f,
        0.7229568362236023f,
        1f,
    };

    /** Code i + 1 is for what is above the i-th, and not above the next one. */
    private static final float[] NF4_THRESHOLDS = {
        -0.8480964004993439f,
        -0.6106329262256622f,
        -0.4599952697753906f,
        -0.33967943489551544f,
        -0.23460740596055984f,
        -0.13791173323988914f,
        -0.045525018125772476f,
        0.03979014977812767f,
        0.1202552504837513f,
        0.2035212516784668f,
        0.2920137718319893f,
        0.3893125355243683f,
        0.5016634166240692f,
        0.6427869200706482f,
        0.8614784181118011f,
    };

    /** Magnitudes by the lower three bits, in twelfths. */
    private static final float[] FP4_TWELFTHS = {0f, 0.0625f, 8f, 12f, 4f, 6f, 2f, 3f};

    /** The lower three bits by the rank of their magnitude. */
    private static final int[] FP4_BY_RANK = {0, 1, 6, 7, 4, 5, 2, 3};

    /** A magnitude has the rank i + 1 above the i-th, and not above the next one. */
    private static final float[] FP4_THRESHOLDS = {
        0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f, 0.4166667f, 0.583333f, 0.8333333f,
    };

    /** Powers of ten of the scales' map, a code's exponent by the bits of its fraction. */
    private static final float[] SCALE_POWERS = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1f};

    private static final float[] SCALES = scaleMap();

    private FourBitTables() {}

    /** The values of the sixteen codes. */
    public static float[] values(Type type) {
        return switch (type) {
            case NF4 -> NF4.clone();
            case FP4 -> {
                float[] values = new float[CODES];
                for (int code = 0; code < FP4_SIGN; code++) {
                    values[code] = FP4_TWELFTHS[code] / 12f;
                    values[code + FP4_SIGN] = -values[code];
                }
                yield values;
            }
        };
    }

    /**
     * Where the rank of x (NF4) or of its magnitude (FP4) changes: it is the number of thresholds
     * that are less.
     */
    public static float[] thresholds(Type type) {
        return switch (type) {
            case NF4 -> NF4_THRESHOLDS.clone();
            case FP4 -> FP4_THRESHOLDS.clone();
        };
    }

    /** The code of a rank; negative numbers of FP4 have the sign besides. */
    public static int codeOfRank(Type type, int rank) {
        return type == Type.NF4 ? rank : FP4_BY_RANK[rank];
    }

    /** The code of an element that is divided by its scale; of NaN, that of the lowest rank. */
    public static int code(Type type, float x) {
        return switch (type) {
            case NF4 -> rank(NF4_THRESHOLDS, x);
            case FP4 -> FP4_BY_RANK[rank(FP4_THRESHOLDS, Math.abs(x))] | (x < 0 ? FP4_SIGN : 0);
        };
    }

    private static int rank(float[] thresholds, float x) {
        int rank = 0;
        for (float threshold : thresholds) {
            rank += x > threshold ? 1 : 0;
        }
        return rank;
    }

    /** What elements of a block are multiplied by before they get codes: finite for all zeros. */
    public static float inverse(float scale) {
        return 1f / (scale < LEAST_SCALE ? LEAST_SCALE : scale);
    }

    /** What the codes of nested scales mean: the map of {@link FourBitMatrix.Nested}. */
    public static float[] scaleValues() {
        return SCALES.clone();
    }

    /**
     * Code 127 is 0 and code 255 is 1. Of the others, those at a distance of 2^i to 2^(i+1) − 1
     * from 127 share the power 10^(i−6), and are the middles of 2^i equal parts of [0.1, 1]. Ends
     * of parts are formed as torch.linspace forms them: from the nearer end, rounded once.
     */
    private static float[] scaleMap() {
        float[] map = new float[SCALE_CODES];
        for (int i = 0; i < SCALE_POWERS.length; i++) {
            int parts = 1 << i;
            for (int part = 0; part < parts; part++) {
                float middle = (partEnd(part, parts) + partEnd(part + 1, parts)) / 2f;
                map[127 + parts + part] = SCALE_POWERS[i] * middle;
                map[127 - parts - part] = -map[127 + parts + part];
            }
        }
        map[255] = 1f;
        return map;
    }

    private static float partEnd(int index, int parts) {
        float step = (1f - 0.1f) / parts;
        return index < (parts + 1) / 2
                ? Math.fma(step, index, 0.1f)
                : Math.fma(-step, parts - index, 1f);
    }

    /**
     * The code of a scale that is divided by the scale of its block: the nearest one, and the lower
     * one from halfway; of NaN, 0.
     */
    public static int scaleCode(float x) {
        int low = 0;
        int high = SCALE_CODES - 1;
        while (low < high) {
            int middle = (low + high) / 2;
            if (x > (SCALES[middle] + SCALES[middle + 1]) / 2f) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        return low;
    }
}
