package jlora.runtime.adapter.lora;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.model.Model;
import jlora.runtime.nn.Linear;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.HostValues;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * An adapter added to a model's weights in place, with what it takes to take it off again to the
 * bit. While it is merged, plans that are traced leave the borders out, so inference costs what the
 * base model costs; plans traced before must not run, and the adapter cannot be trained or
 * switched.
 */
public final class LoraMerge implements AutoCloseable {
    private enum State {
        MERGED,
        UNMERGED,
        CLOSED
    }

    private final Backend backend;
    private final Model model;
    private final LoraAdapter adapter;
    private final List<MergeKernel.Part> parts;

    /** Whole weights, and the borders that unmerging reads. */
    private final List<Tensor> weights;

    private final List<Tensor> borders;
    private long[] weightPrints;
    private long[] borderPrints;
    private Optional<Corrections> corrections = Optional.empty();
    private State state = State.UNMERGED;

    private LoraMerge(Backend backend, Model model, LoraAdapter adapter) {
        this.backend = backend;
        this.model = model;
        this.adapter = adapter;
        this.parts =
                adapter.modules().stream()
                        .map(m -> new MergeKernel.Part(m.weight(), m.border().a(), m.border().b()))
                        .toList();
        this.weights =
                adapter.modules().stream()
                        .map(m -> m.linear().weight().weight())
                        .distinct()
                        .toList();
        this.borders = parts.stream().flatMap(part -> Stream.of(part.a(), part.b())).toList();
    }

    /**
     * Merges an adapter into all of its weights or, when a weight, a factor or a merged weight is
     * NaN or infinite, into none (exit code 5). A model holds one merged adapter at a time.
     */
    public static LoraMerge merge(Backend backend, Model model, LoraAdapter adapter) {
        adapter.requireUnmerged("merged again");
        adapter.requireWhole("merged");
        if (model.linears().stream().anyMatch(Linear::bordersIgnored)) {
            throw new IllegalStateException(
                    "the model ignores its adapters, as it does while one is merged: adapter '"
                            + adapter.name()
                            + "' cannot be merged");
        }
        LoraMerge merge = new LoraMerge(backend, model, adapter);
        merge.apply();
        return merge;
    }

    private MergeKernel kernel() {
        return backend.kernels().merge();
    }

    private void apply() {
        weightPrints = kernel().fingerprints(weights);
        borderPrints = kernel().fingerprints(borders);
        corrections = kernel().merge(parts);
        if (corrections.isEmpty()) {
            throw notFinite();
        }
        setMerged(true);
        state = State.MERGED;
    }

    private void setMerged(boolean merged) {
        adapter.merged(merged);
        model.linears().forEach(linear -> linear.ignoreBorders(merged));
    }

    /** Finds out what of which module cannot be merged; nothing was. */
    private JloraException notFinite() {
        for (int i = 0; i < parts.size(); i++) {
            List<MergeKernel.Part> alone = parts.subList(i, i + 1);
            Optional<Corrections> merged = kernel().merge(alone);
            if (merged.isEmpty()) {
                String what = notFinite(parts.get(i)).orElse("the sum of weight and update");
                return notFinite(what + " of " + adapter.modules().get(i).module());
            }
            kernel().unmerge(alone, merged.get());
            merged.get().close();
        }
        throw new IllegalStateException("all parts of a merge that was refused are finite");
    }

    private Optional<String> notFinite(MergeKernel.Part part) {
        Map<String, Tensor> operands = new LinkedHashMap<>();
        operands.put("lora_A", part.a());
        operands.put("lora_B", part.b());
        operands.put("the weight", part.w());
        return operands.entrySet().stream()
                .filter(operand -> !finite(HostValues.read(backend, operand.getValue())))
                .map(Map.Entry::getKey)
                .findFirst();
    }

    private JloraException notFinite(String what) {
        return new JloraException(
                ExitCode.NUMERICS,
                "adapter '"
                        + adapter.name()
                        + "' cannot be merged: "
                        + what
                        + " holds NaN or infinity; no weight was changed, so use an adapter and a"
                        + " base model with finite values.");
    }

    private static boolean finite(float[] values) {
        for (float value : values) {
            if (!Float.isFinite(value)) {
                return false;
            }
        }
        return true;
    }

    public LoraAdapter adapter() {
        return adapter;
    }

    /** What the correction records take; until {@link #unmerge} or {@link #close}. */
    public MergeCost cost() {
        return MergeCost.of(parts, corrections.orElseThrow());
    }

    /**
     * Gives every weight back to the bit, and proves it: fails when the borders changed meanwhile
     * (nothing is touched then), or when the weights' fingerprints are not those from before the
     * merge.
     */
    public void unmerge() {
        if (state != State.MERGED) {
            throw new IllegalStateException(
                    "adapter '" + adapter.name() + "' is not merged, or its merge is closed");
        }
        changed(borders, borderPrints)
                .ifPresent(
                        tensor -> {
                            throw new IllegalStateException(
                                    "the border of "
                                            + tensor.name()
                                            + " changed while adapter '"
                                            + adapter.name()
                                            + "' was merged: it cannot be unmerged");
                        });
        kernel().unmerge(parts, corrections.orElseThrow());
        setMerged(false);
        state = State.UNMERGED;
        Optional<Tensor> wrong = changed(weights, weightPrints);
        free();
        wrong.ifPresent(
                tensor -> {
                    throw new IllegalStateException(
                            tensor.name()
                                    + " is not what it was before adapter '"
                                    + adapter.name()
                                    + "' was merged: load the model again");
                });
    }

    private Optional<Tensor> changed(List<Tensor> tensors, long[] prints) {
        int differing = Arrays.mismatch(kernel().fingerprints(tensors), prints);
        return differing < 0 ? Optional.empty() : Optional.of(tensors.get(differing));
    }

    private void free() {
        corrections.ifPresent(Corrections::close);
        corrections = Optional.empty();
    }

    /** Frees the records; an adapter that is still merged stays so for good. */
    @Override
    public void close() {
        free();
        state = State.CLOSED;
    }
}
