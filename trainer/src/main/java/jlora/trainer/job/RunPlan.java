package jlora.trainer.job;

import jlora.runtime.plan.Plan;
import jlora.runtime.plan.Recompute;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.FrozenStorage;
import jlora.runtime.weight.ModelWeights;
import jlora.runtime.weight.ParameterSet;
import jlora.runtime.weight.Placement;
import jlora.trainer.loop.BatchPlans;
import jlora.trainer.loop.Blueprint;
import jlora.trainer.loop.Passes;
import jlora.trainer.loop.Session;
import jlora.trainer.report.MemoryItem;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * All the memory and all the arithmetic of a run, known before it starts: the training plan of the
 * largest batch and, where there is evaluation, that of the largest evaluation batch, in one arena.
 */
public final class RunPlan {
    /**
     * The largest batch that will come.
     *
     * @param tokens T
     * @param sequences S
     * @param longest tokens of the longest sequence
     */
    public record BatchSize(int tokens, int sequences, int longest) {}

    /** Labels of allocations, by which plan and session are compared. */
    static final String CHECKPOINT_COPY = "checkpoint copy";

    static final String RESERVED = "reserved by the backend";
    private static final String INPUTS = "batch inputs";
    private static final String STEP = "plan";

    private final Blueprint blueprint;
    private final BatchPlans training;
    private final Optional<BatchPlans> evaluation;
    private final long reserved;
    private final long copy;
    private final int accumulation;
    private final Tensor loss;

    private RunPlan(
            Blueprint blueprint,
            Tensor loss,
            BatchPlans training,
            Optional<BatchPlans> evaluation,
            long reserved,
            long copy,
            int accumulation) {
        this.blueprint = blueprint;
        this.reserved = reserved;
        this.copy = copy;
        this.loss = loss;
        this.training = training;
        this.evaluation = evaluation;
        this.accumulation = accumulation;
    }

    /**
     * @param loss where plans leave their loss
     * @param mode how much may be recomputed
     * @param device whose memory the whole run may take, for {@link Recompute.Mode#AUTO}
     * @param accumulation micro-batches of a step
     * @param copy bytes of the copy that checkpoints are written from, where it takes the device's
     *     memory
     */
    public static RunPlan of(
            Blueprint blueprint,
            Passes passes,
            Tensor loss,
            BatchSize train,
            Optional<BatchSize> eval,
            Recompute.Mode mode,
            Device device,
            int accumulation,
            long copy) {
        Optional<BatchPlans> evaluation =
                eval.map(
                        e ->
                                new BatchPlans(
                                        e.tokens,
                                        e.sequences,
                                        e.longest,
                                        blueprint.mixed(),
                                        (inputs, longest) ->
                                                passes.evaluate(inputs, loss, longest)));
        long resident =
                resident(blueprint, device.reserved(), copy).values().stream()
                        .flatMap(List::stream)
                        .mapToLong(MemoryItem::bytes)
                        .sum();
        Recompute recompute =
                new Recompute(mode, Math.max(0, device.bytes() - resident - (1L << 20)));
        BatchPlans training =
                new BatchPlans(
                        train.tokens,
                        train.sequences,
                        train.longest,
                        blueprint.mixed(),
                        (inputs, longest) -> passes.train(inputs, loss, longest, recompute));
        return new RunPlan(
                blueprint, loss, training, evaluation, device.reserved(), copy, accumulation);
    }

    /** Where all plans leave their loss. */
    public Tensor loss() {
        return loss;
    }

    public BatchPlans training() {
        return training;
    }

    public Optional<BatchPlans> evaluation() {
        return evaluation;
    }

    /** The micro-batch plan of the largest batch. */
    public Plan microBatch() {
        return training.largest().plan();
    }

    /** Bytes of the arena that all plans share. */
    public long arenaBytes() {
        return Math.max(
                microBatch().arenaBytes(),
                evaluation.map(e -> e.largest().plan().arenaBytes()).orElse(0L));
    }

    /** Bytes of the batch inputs. */
    public long inputBytes() {
        return Math.max(training.inputBytes(), evaluation.map(BatchPlans::inputBytes).orElse(0L));
    }

    /** Allocates the arena and the inputs, owned by the session, and places the plans in them. */
    public void bind(Session session) {
        MemoryArena arena = session.allocate(to -> to.allocate(STEP, arenaBytes()));
        MemoryArena inputs = session.allocate(to -> to.allocate(INPUTS, inputBytes()));
        training.bind(arena, inputs);
        evaluation.ifPresent(e -> e.bind(arena, inputs));
    }

    /** What stays for the whole run, by the allocation that holds it. */
    private static Map<String, List<MemoryItem>> resident(
            Blueprint blueprint, long reserved, long copy) {
        Map<String, List<MemoryItem>> all = new LinkedHashMap<>();
        ModelWeights weights = blueprint.model().weights();
        List<MemoryItem> base = new ArrayList<>();
        weightItems(base, weights);
        if (weights.borderBytes() > 0) {
            base.add(new MemoryItem("adapters (borders)", weights.borderBytes()));
        }
        all.put(ModelWeights.LABEL, base);
        if (blueprint.parameters().elements() > 0) {
            List<MemoryItem> trained = new ArrayList<>();
            item(trained, blueprint, Storage.Role.MASTER, "trained parameters (float32)");
            item(trained, blueprint, Storage.Role.GRADIENT, "gradients (float32)");
            item(trained, blueprint, Storage.Role.OPTIMIZER, "optimizer moments (float32)");
            all.put(ParameterSet.LABEL, trained);
        }
        if (copy > 0) {
            all.put(CHECKPOINT_COPY, List.of(new MemoryItem("checkpoint copy (float32)", copy)));
        }
        if (reserved > 0) {
            all.put(RESERVED, List.of(new MemoryItem("kernels' scratch", reserved)));
        }
        return all;
    }

    /** Matrices of layers in the form that they stay in, and what stays as it is. */
    private static void weightItems(List<MemoryItem> items, ModelWeights weights) {
        String type = weights.dtype().torchName();
        long reduced = weights.reducedBytes();
        long whole = weights.weightBytes() - reduced;
        if (weights.sharding().isPresent()) {
            int ranks = weights.sharding().get().ranks();
            items.add(new MemoryItem("weights (" + type + "), 1/" + ranks + " share", reduced));
            items.add(new MemoryItem("embeddings and norms, whole", whole));
        } else if (weights.storage().equals(FrozenStorage.plain())) {
            items.add(new MemoryItem("weights (" + type + ")", whole));
        } else {
            if (reduced > 0) {
                items.add(new MemoryItem("layers (" + layers(weights) + ")", reduced));
            }
            items.add(new MemoryItem("embeddings, norms, head (" + type + ")", whole));
        }
    }

    /** What the matrices of layers are stored as. */
    private static String layers(ModelWeights weights) {
        String form = weights.storage().form().describe();
        return form.isEmpty() ? weights.dtype().torchName() : form;
    }

    /** Page-locked memory of the host, which is not the device's. */
    public List<MemoryItem> hostItems() {
        ModelWeights weights = blueprint.model().weights();
        return weights.hostBytes() == 0
                ? List.of()
                : List.of(new MemoryItem("layers (" + layers(weights) + ")", weights.hostBytes()));
    }

    public long hostBytes() {
        return hostItems().stream().mapToLong(MemoryItem::bytes).sum();
    }

    private static void item(
            List<MemoryItem> items, Blueprint blueprint, Storage.Role role, String name) {
        List<Storage> of =
                blueprint.parameters().storages().stream().filter(s -> s.role() == role).toList();
        items.add(new MemoryItem(name, Placement.bytes(of)));
    }

    /** Every line of the plan; the sum is {@link #totalBytes}. */
    public List<MemoryItem> items() {
        return itemsByAllocation().values().stream().flatMap(List::stream).toList();
    }

    /** The lines of the plan by the label of the allocation that holds them. */
    Map<String, List<MemoryItem>> itemsByAllocation() {
        Map<String, List<MemoryItem>> all = resident(blueprint, reserved, copy);
        all.put(INPUTS, List.of(new MemoryItem("batch inputs", inputBytes())));
        List<MemoryItem> items = new ArrayList<>();
        Plan plan = microBatch();
        for (Map.Entry<Plan.Part, Long> part : plan.parts().entrySet()) {
            long most = plan.largestParts().get(part.getKey());
            if (part.getKey() == Plan.Part.EXPANDED && most == 0) {
                continue;
            }
            items.add(new MemoryItem(part.getKey().label(), part.getValue(), most));
        }
        if (arenaBytes() > plan.arenaBytes()) {
            items.add(
                    new MemoryItem("evaluation beyond training", arenaBytes() - plan.arenaBytes()));
        }
        all.put(STEP, items);
        return all;
    }

    public long totalBytes() {
        return items().stream().mapToLong(MemoryItem::bytes).sum();
    }

    /** True when the device has room for all of it. */
    public boolean fits(Device device) {
        return totalBytes() <= device.bytes();
    }

    /** Trained elements. */
    public long trainedParameters() {
        return blueprint.parameters().elements();
    }

    /**
     * Floating-point operations of one optimizer step with the largest batches, the update left
     * out.
     */
    public long flopsPerStep() {
        return accumulation * microBatch().flops();
    }

    /**
     * Bytes that the steps of one optimizer step move when each operand is read and written once.
     */
    public long bytesMovedPerStep() {
        return accumulation * microBatch().bytesMoved();
    }

    /** Bytes of gradients that workers sum once in an optimizer step. */
    public long gradientBytes() {
        return trainedParameters() * DType.F32.bytes();
    }

    /**
     * Bytes of frozen layers that reach this device in an optimizer step, from other workers or
     * from memory of the host.
     */
    public long fetchedBytesPerStep() {
        return accumulation * microBatch().fetchedBytes();
    }

    public long tokensPerStep() {
        return accumulation * training.largest().inputs().tokens();
    }
}
