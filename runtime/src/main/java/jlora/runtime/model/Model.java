package jlora.runtime.model;

import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.AttentionShape;
import jlora.runtime.nn.Linear;
import jlora.runtime.nn.StepInputs;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.ModelWeights;

import java.util.List;

/**
 * A causal language model: what weights it has, and how tokens become hidden states. Tracing it
 * computes nothing.
 */
public interface Model {
    /**
     * How the attention of one layer is computed: over a packed batch, or with a cache of earlier
     * keys and values.
     */
    @FunctionalInterface
    interface AttentionCall {
        /**
         * @param qkv [T, fusedCols]
         * @param pad columns to leave behind each row of the result
         * @return [T, heads·headDim]
         */
        Tensor apply(Trace trace, int layer, Tensor qkv, AttentionShape shape, long pad);
    }

    ModelConfig config();

    ModelWeights weights();

    /** All layers that adapters may target, in the order of the model. */
    List<Linear> linears();

    AttentionShape attentionShape();

    /**
     * Fills the small tables that the architecture computes (rotary frequencies), once memory is
     * placed.
     */
    void fillConstants(Backend backend);

    /** The hidden states [T,C] that the output head reads, the final norm included. */
    Tensor hidden(Trace trace, StepInputs inputs, AttentionCall attention);

    /** The output head [V,C], for a trace to read. */
    Tensor head(Trace trace);

    /**
     * What the checkpoint asks for that training here does not do, one sentence each; shown to the
     * user.
     */
    List<String> notices();
}
