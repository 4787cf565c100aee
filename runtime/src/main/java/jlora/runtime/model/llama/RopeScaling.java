package jlora.runtime.model.llama;

import jlora.runtime.model.ConfigReader;

import java.util.Optional;

/**
 * Inverse frequencies of the rotary embedding, f32, head size D / 2 of them: θ^(−2i/D), and for
 * Llama 3.1 and later the frequency-dependent stretch of its reference code: wavelengths longer
 * than the original context are slowed by {@code factor}, short ones left alone, those between
 * blended.
 */
record RopeScaling(float[] inverseFrequencies) {
    /**
     * Transformers 5 nests everything in rope_parameters; older files have rope_theta and
     * rope_scaling.
     */
    static RopeScaling read(ConfigReader c, int headDim, int maxPositions) {
        Optional<ConfigReader> nested = c.object("rope_parameters");
        Optional<ConfigReader> scaling = nested.isPresent() ? nested : c.object("rope_scaling");
        double theta =
                nested.filter(n -> n.has("rope_theta"))
                        .map(n -> n.number("rope_theta"))
                        .orElseGet(() -> c.number("rope_theta", 10000.0));
        double partial = nested.orElse(c).number("partial_rotary_factor", 1.0);
        if (partial != 1.0) {
            throw c.unsupported("partial_rotary_factor", String.valueOf(partial), "1.0");
        }
        float[] inverse = new float[headDim / 2];
        for (int i = 0; i < inverse.length; i++) {
            inverse[i] = 1f / (float) Math.pow(theta, (float) (2 * i) / headDim);
        }
        String type =
                scaling.map(s -> s.text("rope_type", s.text("type", "default"))).orElse("default");
        switch (type) {
            case "default" -> {}
            case "linear" -> {
                float factor = (float) scaling.get().number("factor");
                for (int i = 0; i < inverse.length; i++) {
                    inverse[i] /= factor;
                }
            }
            case "llama3" -> llama3(inverse, scaling.get(), maxPositions);
            default -> throw c.unsupported("rope_type", type, "default, linear and llama3");
        }
        return new RopeScaling(inverse);
    }

    private static void llama3(float[] inverse, ConfigReader s, int maxPositions) {
        double factor = s.number("factor");
        double low = s.number("low_freq_factor");
        double high = s.number("high_freq_factor");
        double original = s.number("original_max_position_embeddings", maxPositions);
        for (int i = 0; i < inverse.length; i++) {
            double wavelength = 2 * Math.PI / inverse[i];
            if (wavelength > original / low) {
                inverse[i] = (float) (inverse[i] / factor);
            } else if (wavelength >= original / high) {
                double smooth = (original / wavelength - low) / (high - low);
                inverse[i] = (float) ((1 - smooth) * inverse[i] / factor + smooth * inverse[i]);
            }
        }
    }
}
