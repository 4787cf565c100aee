package jlora.runtime.adapter.lora;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.Correction;
import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.model.Model;
import jlora.runtime.nn.Linear;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.HostValues;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * An adapter added to a model's weights in place, with what it takes to take it off again to the
 * bit. While it is merged, plans that are traced leave the borders out, so inference costs what the
 * base model costs; plans traced before must not run, and the adapter cannot be trained or
 * switched.
 */
public final class LoraMerge implements AutoCloseable {
    /** One module's rows of a weight, its factors, and its record. */
    record Part(
            LoraAdapter.Module module,
            Tensor w,
            LowRankBorder.Block border,
            Correction correction) {}

    private enum State {
        MERGED,
        UNMERGED,
        CLOSED
    }

    private final Backend backend;
    private final Model model;
    private final LoraAdapter adapter;
    private final List<Part> parts = new ArrayList<>();
    private final Map<Tensor, Long> weightPrints = new LinkedHashMap<>();
    private final Map<Tensor, Long> borderPrints = new LinkedHashMap<>();
    private State state = State.UNMERGED;

    private LoraMerge(Backend backend, Model model, LoraAdapter adapter) {
        this.backend = backend;
        this.model = model;
        this.adapter = adapter;
    }

    /**
     * Merges an adapter into all of its weights or, when a weight, a factor or a merged weight is
     * NaN or infinite, into none (exit code 5). A model holds one merged adapter at a time.
     */
    public static LoraMerge merge(Backend backend, Model model, LoraAdapter adapter) {
        adapter.requireUnmerged("merged again");
        if (model.linears().stream().anyMatch(Linear::bordersIgnored)) {
            throw new IllegalStateException(
                    "the model ignores its adapters, as it does while one is merged: adapter '"
                            + adapter.name()
                            + "' cannot be merged");
        }
        LoraMerge merge = new LoraMerge(backend, model, adapter);
        try {
            merge.prepare();
            merge.apply();
        } catch (RuntimeException | Error e) {
            merge.free();
            throw e;
        }
        return merge;
    }

    private MergeKernel kernel() {
        return backend.kernels().merge();
    }

    /** Everything that can fail, before a weight changes. */
    private void prepare() {
        for (LoraAdapter.Module module : adapter.modules()) {
            LowRankBorder.Block border = module.border();
            Tensor w = module.weight();
            Correction correction =
                    kernel().prepare(w, border.a(), border.b())
                            .orElseThrow(() -> notFinite(module));
            parts.add(new Part(module, w, border, correction));
            weightPrints.computeIfAbsent(module.linear().weight().weight(), kernel()::fingerprint);
            borderPrints.put(border.a(), kernel().fingerprint(border.a()));
            borderPrints.put(border.b(), kernel().fingerprint(border.b()));
        }
    }

    private void apply() {
        int done = 0;
        try {
            for (Part part : parts) {
                kernel().merge(part.w, part.border.a(), part.border.b(), part.correction);
                done++;
            }
            backend.synchronize();
        } catch (RuntimeException | Error e) {
            takeOff(parts.subList(0, done));
            throw e;
        }
        setMerged(true);
        state = State.MERGED;
    }

    private void takeOff(List<Part> merged) {
        for (Part part : merged) {
            kernel().unmerge(part.w, part.border.a(), part.border.b(), part.correction);
        }
        backend.synchronize();
    }

    private void setMerged(boolean merged) {
        adapter.merged(merged);
        model.linears().forEach(linear -> linear.ignoreBorders(merged));
    }

    private JloraException notFinite(LoraAdapter.Module module) {
        String what = "the sum of weight and update";
        Map<String, Tensor> operands = new LinkedHashMap<>();
        operands.put("lora_A", module.border().a());
        operands.put("lora_B", module.border().b());
        operands.put("the weight", module.weight());
        for (Map.Entry<String, Tensor> operand : operands.entrySet()) {
            if (!finite(HostValues.read(backend, operand.getValue()))) {
                what = operand.getKey();
                break;
            }
        }
        return new JloraException(
                ExitCode.NUMERICS,
                "adapter '"
                        + adapter.name()
                        + "' cannot be merged: "
                        + what
                        + " of "
                        + module.module()
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
        return MergeCost.of(parts);
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
        changed(borderPrints)
                .ifPresent(
                        tensor -> {
                            throw new IllegalStateException(
                                    "the border of "
                                            + tensor.name()
                                            + " changed while adapter '"
                                            + adapter.name()
                                            + "' was merged: it cannot be unmerged");
                        });
        takeOff(parts);
        setMerged(false);
        state = State.UNMERGED;
        Optional<Tensor> wrong = changed(weightPrints);
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

    private Optional<Tensor> changed(Map<Tensor, Long> prints) {
        return prints.entrySet().stream()
                .filter(print -> kernel().fingerprint(print.getKey()) != print.getValue())
                .map(Map.Entry::getKey)
                .findFirst();
    }

    private void free() {
        parts.forEach(part -> part.correction.close());
        parts.clear();
    }

    /** Frees the records; an adapter that is still merged stays so for good. */
    @Override
    public void close() {
        free();
        state = State.CLOSED;
    }
}
