package jlora.runtime.plan;

import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/** The gradients known so far, as a backward rule sees them: what it reads, and where it writes. */
public final class Gradients {
    private final Trace trace;
    private final Map<Tensor, Tensor> gradients = new HashMap<>();

    /**
     * Gradients that two values share (a sum passes the same one to both): nothing may add to them.
     */
    private final Map<Tensor, Boolean> shared = new HashMap<>();

    Gradients(Trace trace, Map<Tensor, Tensor> given) {
        this.trace = trace;
        gradients.putAll(given);
    }

    /** Records a step of the backward pass. */
    public void step(Step step) {
        trace.step(step);
    }

    public Trace trace() {
        return trace;
    }

    public boolean has(Tensor value) {
        return gradients.containsKey(value);
    }

    /** True when somebody wants the gradient of this value. */
    public boolean wants(Tensor value) {
        return trace.needsGradient(value);
    }

    /** The gradient that has reached a value. */
    public Tensor of(Tensor value) {
        Tensor gradient = gradients.get(value);
        if (gradient == null) {
            throw new IllegalStateException("no gradient reaches " + value.describe());
        }
        return gradient;
    }

    public Optional<Tensor> maybe(Tensor value) {
        return Optional.ofNullable(gradients.get(value));
    }

    /**
     * Where to put one consumer's share of a value's gradient: the first overwrites, later ones
     * add.
     */
    public Grad into(Tensor value) {
        Tensor present = gradients.get(value);
        if (present != null) {
            if (shared.containsKey(present)) {
                throw new IllegalStateException(
                        "gradient of " + value.describe() + " is shared: nothing may add to it");
            }
            return Grad.accumulate(present);
        }
        return Grad.overwrite(only(value));
    }

    /** A new tensor for the gradient of a value that has one consumer. */
    public Tensor only(Tensor value) {
        if (has(value)) {
            throw new IllegalStateException(value.describe() + " has a gradient already");
        }
        Tensor gradient = fresh(value, trace.gradientPad(value));
        gradients.put(value, gradient);
        return gradient;
    }

    /**
     * A new gradient for the sum {@code a + b} (b may be absent), to be written from the sum's
     * present gradient, and from then on the gradient of both terms.
     */
    public Tensor ofSum(Tensor a, Optional<Tensor> b) {
        long pad = Math.max(trace.gradientPad(a), b.map(trace::gradientPad).orElse(0L));
        Tensor gradient = fresh(a, pad);
        if (b.isPresent()) {
            if (has(a) || has(b.get())) {
                throw new IllegalStateException(
                        "a term of " + a.describe() + " + … has a gradient already");
            }
            shared.put(gradient, true);
            if (wants(b.get())) {
                gradients.put(b.get(), gradient);
            }
        }
        if (wants(a)) {
            gradients.put(a, gradient);
        }
        return gradient;
    }

    /** Where a trainable value's gradient adds up over micro-batches; empty for a frozen one. */
    public Optional<Grad> parameter(Tensor value) {
        return trace.parameterGradient(value);
    }

    private Tensor fresh(Tensor like, long pad) {
        return Tensor.padded(
                "d(" + like.name() + ")",
                Storage.Role.ACTIVATION,
                like.dtype(),
                like.rows(),
                like.cols(),
                pad);
    }
}
