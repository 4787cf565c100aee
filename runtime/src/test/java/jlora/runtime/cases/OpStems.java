package jlora.runtime.cases;

import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.AttentionKernel;
import jlora.runtime.kernel.LinearKernel;
import jlora.runtime.kernel.RmsNormKernel;
import jlora.runtime.kernel.SwigluKernel;

import java.util.List;

/** The registry of op cases: one line per op. */
public final class OpStems {
    public static final OpStem<LinearKernel> LINEAR =
            new OpStem<>("linear", Backend::linear, LinearCase::all, LinearCase::speed);
    public static final OpStem<RmsNormKernel> RMS_NORM =
            new OpStem<>("rms_norm", Backend::rmsNorm, RmsNormCase::all, RmsNormCase::speed);
    public static final OpStem<AttentionKernel> ATTENTION =
            new OpStem<>("attention", Backend::attention, AttentionCase::all, AttentionCase::speed);
    public static final OpStem<SwigluKernel> SWIGLU =
            new OpStem<>("swiglu", Backend::swiglu, SwigluCase::all, SwigluCase::speed);

    public static final List<OpStem<?>> ALL = List.of(LINEAR, RMS_NORM, ATTENTION, SWIGLU);

    private OpStems() {}
}
