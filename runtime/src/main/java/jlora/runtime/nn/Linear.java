package jlora.runtime.nn;

import jlora.runtime.op.Border;
import jlora.runtime.plan.Trace;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.BorderedWeight;
import jlora.runtime.weight.CheckpointTensor.Init;
import jlora.runtime.weight.Fp8Stored;
import jlora.runtime.weight.Held;
import jlora.runtime.weight.HeldRows;
import jlora.runtime.weight.ModelWeights;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Supplier;

/**
 * A linear layer over a bordered weight. It may fuse several modules of the checkpoint that read
 * the same input (q, k and v; gate and up): each keeps its own name, its own adapters and its own
 * tensors in files.
 */
public final class Linear {
    /**
     * One module of the checkpoint.
     *
     * @param module its path, such as {@code model.layers.0.self_attn.q_proj}: what adapters target
     * @param outFrom its first row in the fused weight
     * @param out its output features
     */
    public record Part(String module, long outFrom, long out) {}

    private final String name;
    private final BorderedWeight weight;
    private final Optional<Tensor> bias;
    private final List<Part> parts;
    private final boolean conv1d;
    private boolean bordersIgnored;

    private Linear(
            String name,
            BorderedWeight weight,
            Optional<Tensor> bias,
            List<Part> parts,
            boolean conv1d) {
        this.name = name;
        this.weight = weight;
        this.bias = bias;
        this.parts = parts;
        this.conv1d = conv1d;
    }

    /** Collects the modules that a layer fuses, then declares its weights. */
    public static final class Builder {
        private final ModelWeights weights;
        private final String name;
        private final long in;
        private final List<Part> parts = new ArrayList<>();
        private long out;
        private boolean bias;
        private boolean conv1d;

        public Builder(ModelWeights weights, String name, long in) {
            this.weights = weights;
            this.name = name;
            this.in = in;
        }

        public Builder module(String module, long features) {
            parts.add(new Part(module, out, features));
            out += features;
            return this;
        }

        public Builder bias(boolean present) {
            bias = present;
            return this;
        }

        /** The checkpoint stores [in,out], as GPT-2's Conv1D does. */
        public Builder conv1d() {
            conv1d = true;
            return this;
        }

        public Linear build() {
            BorderedWeight weight =
                    weights.bordered(name + ".weight", parts.stream().map(Part::out).toList(), in);
            Optional<Tensor> vector =
                    bias ? Optional.of(weights.plain(name + ".bias", 1, out)) : Optional.empty();
            for (Part part : parts) {
                Supplier<Held> rows = () -> weight.held(part.outFrom, part.out);
                weights.inCheckpoint(part.module + ".weight", rows, conv1d, Init.NORMAL);
                vector.ifPresent(
                        b ->
                                weights.inCheckpoint(
                                        part.module + ".bias",
                                        () -> HeldRows.all(b.columns(part.outFrom, part.out)),
                                        false,
                                        Init.ZEROS));
            }
            return new Linear(name, weight, vector, List.copyOf(parts), conv1d);
        }
    }

    public String name() {
        return name;
    }

    public List<Part> parts() {
        return parts;
    }

    public BorderedWeight weight() {
        return weight;
    }

    public Optional<Tensor> bias() {
        return bias;
    }

    /** True for GPT-2's Conv1D, whose adapters PEFT marks {@code fan_in_fan_out}. */
    public boolean conv1d() {
        return conv1d;
    }

    /** Columns that the producer of this layer's input must leave free behind each row. */
    public long inputPad() {
        return weight.rank();
    }

    /** Plans traced from now on leave the borders out: the base model, or a merged one. */
    public void ignoreBorders(boolean ignore) {
        bordersIgnored = ignore;
    }

    public boolean bordersIgnored() {
        return bordersIgnored;
    }

    /** y [T,N] of x [T,K]. */
    public Tensor apply(Trace trace, Tensor x, StepInputs inputs) {
        weight.expandIn(trace);
        Optional<Tensor> rows =
                inputs.mixed() ? Optional.of(inputs.adapterOfRow()) : Optional.empty();
        if (weight.fp8().isPresent()) {
            Fp8Stored stored = weight.fp8().get();
            return jlora.runtime.op.Linear.apply(
                    trace,
                    name,
                    x,
                    stored.matrix(),
                    trace.training() ? Optional.of(stored.transposed()) : Optional.empty(),
                    bias,
                    bordersIgnored ? Optional.empty() : weight.lowRank(),
                    rows,
                    inputs.rng());
        }
        Optional<Border> border = bordersIgnored ? Optional.empty() : weight.border();
        return jlora.runtime.op.Linear.apply(
                trace, name, x, weight.weight(), bias, border, rows, inputs.rng());
    }
}
