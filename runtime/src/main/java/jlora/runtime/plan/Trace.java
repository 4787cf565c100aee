package jlora.runtime.plan;

import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * Records what a pass would do instead of doing it. Model code runs once over virtual tensors; each
 * op adds its steps and says how gradients flow back through it. {@link #finish} runs those rules
 * in reverse and hands the steps to the planner.
 *
 * <p>Frozen weights have no gradient target, so their gradients are never recorded; an op none of
 * whose inputs leads to a trainable value records no backward at all.
 */
public final class Trace {
    private record Rule(int layer, List<Tensor> outputs, Consumer<Gradients> backward) {}

    private final DType dtype;
    private final boolean training;
    private final Map<Tensor, Tensor> parameterGradients;
    private final Map<Tensor, Long> gradientPads = new HashMap<>();
    private final Map<Tensor, Boolean> needsGradient = new HashMap<>();
    private final Map<Tensor, Tensor> given = new HashMap<>();
    private final List<TracedStep> steps = new ArrayList<>();
    private final List<Rule> rules = new ArrayList<>();
    private final List<Storage> checkpoints = new ArrayList<>();
    private final Map<Storage, TracedExpansion> expansions = new LinkedHashMap<>();
    private final WriteCheck writeCheck = new WriteCheck();
    private int layer = -1;
    private TracedStep.Phase phase = TracedStep.Phase.FORWARD;

    private Trace(DType dtype, boolean training, Map<Tensor, Tensor> parameterGradients) {
        this.dtype = dtype;
        this.training = training;
        this.parameterGradients = parameterGradients;
    }

    /**
     * A pass whose gradients are wanted.
     *
     * @param dtype the type of activations and of what products read
     * @param parameterGradients each trainable value, as products read it, with the f32 gradient it
     *     adds up in
     */
    public static Trace training(DType dtype, Map<Tensor, Tensor> parameterGradients) {
        return new Trace(dtype, true, Map.copyOf(parameterGradients));
    }

    /** A forward pass alone: no dropout, nothing saved. */
    public static Trace inference(DType dtype) {
        return new Trace(dtype, false, Map.of());
    }

    /** The type of activations. */
    public DType dtype() {
        return dtype;
    }

    /** True when dropout applies and gradients are recorded. */
    public boolean training() {
        return training;
    }

    /**
     * A tensor that a step will write, in the plan's arena.
     *
     * @param pad columns behind each row for the low-rank part of the product that reads it
     * @param gradientPad the same for its gradient
     */
    public Tensor activation(
            String label, DType type, long rows, long cols, long pad, long gradientPad) {
        Tensor tensor =
                Tensor.padded(qualify(label), Storage.Role.ACTIVATION, type, rows, cols, pad);
        if (gradientPad > 0) {
            gradientPads.put(tensor, gradientPad);
        }
        return tensor;
    }

    /** A dense activation of the trace's own type. */
    public Tensor activation(String label, long rows, long cols) {
        return activation(label, dtype, rows, cols, 0, 0);
    }

    /** Scratch of one step. */
    public Tensor workspace(String label, DType type, long rows, long cols) {
        return Tensor.dense(qualify(label), Storage.Role.WORKSPACE, type, rows, cols);
    }

    private String qualify(String label) {
        return layer < 0 ? label : "layers." + layer + "." + label;
    }

    /** Steps recorded from now on belong to this layer; −1 leaves the layers. */
    public void enterLayer(int index) {
        layer = index;
    }

    /** Names a tensor from which the rest of its layer can be recomputed. */
    public void checkpoint(Tensor tensor) {
        checkpoints.add(tensor.storage());
    }

    /** Says that the steps recorded from now on may read an expansion's scratch. */
    public void expand(Expansion expansion) {
        if (expansions.putIfAbsent(expansion.into(), new TracedExpansion(expansion, layer))
                == null) {
            writeCheck.check(expansion.start());
            expansion.finish().forEach(writeCheck::check);
        }
    }

    /**
     * Adds a step, after checking that what it reads has been written and that it may write what it
     * writes.
     */
    public void step(Step step) {
        writeCheck.check(step);
        steps.add(new TracedStep(step, phase, layer));
    }

    /**
     * True when a gradient of this value is wanted: it is trainable or computed from something
     * trainable.
     */
    public boolean needsGradient(Tensor tensor) {
        return parameterGradients.containsKey(tensor) || needsGradient.containsKey(tensor);
    }

    /**
     * Says how gradients pass an op: {@code rule} records the steps that turn the gradients of
     * {@code outputs} into those of {@code inputs}. Ignored when no input needs one.
     */
    public void backward(List<Tensor> inputs, List<Tensor> outputs, Consumer<Gradients> rule) {
        if (!training || inputs.stream().noneMatch(this::needsGradient)) {
            return;
        }
        for (Tensor output : outputs) {
            needsGradient.put(output, true);
        }
        rules.add(new Rule(layer, outputs, rule));
    }

    /**
     * Declares a gradient that the forward pass forms itself: the loss does, where its logits are
     * at hand.
     */
    public void given(Tensor value, Tensor gradient) {
        given.put(value, gradient);
    }

    /** Where a trainable value's gradient adds up over micro-batches; empty for a frozen one. */
    public Optional<Grad> parameterGradient(Tensor value) {
        return Optional.ofNullable(parameterGradients.get(value)).map(Grad::accumulate);
    }

    /** Columns that the gradient of a value needs behind each row. */
    public long gradientPad(Tensor tensor) {
        return gradientPads.getOrDefault(tensor, 0L);
    }

    /** Runs the backward rules and plans the memory of the whole pass. */
    public Plan finish(Recompute recompute) {
        phase = TracedStep.Phase.BACKWARD;
        Gradients gradients = new Gradients(this, given);
        for (Rule rule : rules.reversed()) {
            if (rule.outputs.stream().anyMatch(gradients::has)) {
                layer = rule.layer;
                rule.backward.accept(gradients);
            }
        }
        layer = -1;
        return recompute.plan(new TracedPass(steps, List.copyOf(expansions.values())), checkpoints);
    }

    /** A plan of these steps as they are: an update, a generation step. */
    public Plan finish() {
        return finish(Recompute.none());
    }
}
