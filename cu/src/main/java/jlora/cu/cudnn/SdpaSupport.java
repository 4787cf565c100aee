package jlora.cu.cudnn;

import java.util.Optional;

/**
 * What cuDNN must not be asked for, though some versions make a plan: published limits and known
 * faults of its attention over packed sequences. Everything else its heuristics refuse themselves.
 */
public final class SdpaSupport {
    private static final int AMPERE_PACKED = 91801;
    private static final int BLACKWELL_REPRODUCIBLE = 91800;

    private SdpaSupport() {}

    /** Why not forward, in one sentence; empty when nothing is known against it. */
    public static Optional<String> againstForward(
            int version, int computeCapability, SdpaShape shape) {
        if (version < Cudnn.OLDEST) {
            return needs(Cudnn.OLDEST, version, "attention");
        }
        if (computeCapability < 80) {
            return Optional.of(
                    "cuDNN's attention needs compute capability 8.0 or newer, this device has "
                            + computeCapability / 10.0);
        }
        if (!hopperOrDataCenter(computeCapability) && version < AMPERE_PACKED) {
            return needs(
                    AMPERE_PACKED,
                    version,
                    "attention over packed sequences on compute capability "
                            + computeCapability / 10.0);
        }
        return width(shape, computeCapability, 256);
    }

    /** The same for gradients that are the same bits in every run. */
    public static Optional<String> againstBackward(
            int version, int computeCapability, SdpaShape shape) {
        Optional<String> forward = againstForward(version, computeCapability, shape);
        if (forward.isPresent()) {
            return forward;
        }
        if (!hopperOrDataCenter(computeCapability)) {
            return Optional.of(
                    "cuDNN has no reproducible attention gradients over packed sequences on compute"
                            + " capability "
                            + computeCapability / 10.0
                            + ", only on 9.0 and 10.x");
        }
        if (computeCapability >= 100 && version < BLACKWELL_REPRODUCIBLE) {
            return needs(
                    BLACKWELL_REPRODUCIBLE,
                    version,
                    "reproducible attention gradients on compute capability "
                            + computeCapability / 10.0);
        }
        if (shape.longest() == 1) {
            return Optional.of("cuDNN has no attention gradients for sequences of one token");
        }
        return width(shape, computeCapability, computeCapability >= 100 ? 128 : 256);
    }

    private static boolean hopperOrDataCenter(int computeCapability) {
        return computeCapability >= 90 && computeCapability < 110;
    }

    private static Optional<String> width(SdpaShape shape, int computeCapability, int most) {
        return shape.headDim() <= most && shape.headDim() % 8 == 0
                ? Optional.empty()
                : Optional.of(
                        "cuDNN takes heads of a multiple of 8 and at most "
                                + most
                                + " columns on compute capability "
                                + computeCapability / 10.0
                                + ", these have "
                                + shape.headDim());
    }

    private static Optional<String> needs(int needed, int version, String what) {
        return Optional.of(
                what
                        + " needs cuDNN "
                        + Cudnn.text(needed)
                        + " or newer, this is "
                        + Cudnn.text(version));
    }

    static void require(Optional<String> against) {
        against.ifPresent(
                sentence -> {
                    throw new UnsupportedByCudnnException(sentence);
                });
    }
}
