package jlora.cu.cudnn;

import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_ENGINECFG_ENGINE;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_ENGINECFG_KNOB_CHOICES;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_ENGINEHEUR_MODE;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_ENGINEHEUR_RESULTS;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_ENGINE_GLOBAL_INDEX;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_ENGINE_OPERATION_GRAPH;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_OPERATIONGRAPH_OPS;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS;
import static jlora.cu.sys.CudnnConstants.CUDNN_ATTR_VARIANT_PACK_WORKSPACE;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_ENGINECFG_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_ENGINE_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_HEUR_MODE_A;
import static jlora.cu.sys.CudnnConstants.CUDNN_HEUR_MODE_FALLBACK;
import static jlora.cu.sys.CudnnConstants.CUDNN_STATUS_SUCCESS;
import static jlora.cu.sys.CudnnConstants.CUDNN_TYPE_BACKEND_DESCRIPTOR;
import static jlora.cu.sys.CudnnConstants.CUDNN_TYPE_HEUR_MODE;
import static jlora.cu.sys.CudnnConstants.CUDNN_TYPE_KNOB_TYPE;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * A graph with the engine that computes it: one that the caller names, or the first of cuDNN's
 * heuristic order that takes the graph. Nothing is timed, so the same cuDNN, device and graph give
 * the same engine in every run.
 */
final class ExecutionPlan implements AutoCloseable {
    /**
     * An engine by its number, with its settings.
     *
     * @param knobs {@code CUDNN_KNOB_TYPE_...} to value
     */
    record EngineChoice(long engine, Map<Integer, Long> knobs) {
        EngineChoice {
            knobs = new TreeMap<>(knobs);
        }
    }

    /** Of a workspace's address, in bytes. */
    static final int WORKSPACE_ALIGNMENT = 256;

    private final OperationGraph graph;
    private final CudnnDevice device;
    private final List<Descriptor> owned = new ArrayList<>();
    private Descriptor plan;
    private long workspaceBytes;

    private ExecutionPlan(OperationGraph graph, CudnnDevice device) {
        this.graph = graph;
        this.device = device;
    }

    /**
     * Takes the graph over: it closes with the plan, or here when no engine takes it.
     *
     * @throws UnsupportedByCudnnException when no engine takes it
     */
    static ExecutionPlan of(
            OperationGraph graph, CudnnDevice device, Optional<EngineChoice> choice) {
        ExecutionPlan plan = new ExecutionPlan(graph, device);
        try {
            plan.build(choice);
            return plan;
        } catch (RuntimeException | Error e) {
            plan.close();
            throw e;
        }
    }

    private void build(Optional<EngineChoice> choice) {
        Descriptor operations = create(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, "operations");
        device.describeGraph(operations);
        operations.set(
                CUDNN_ATTR_OPERATIONGRAPH_OPS, graph.operations().toArray(Descriptor[]::new));
        operations.finish();
        List<String> refusals = new ArrayList<>();
        List<Descriptor> configs =
                choice.map(engine -> config(operations, engine, refusals))
                        .orElseGet(() -> heuristic(operations, refusals));
        for (Descriptor config : configs) {
            Descriptor candidate = create(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "plan");
            device.describePlan(candidate);
            candidate.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
            if (finished(candidate, refusals)) {
                plan = candidate;
                workspaceBytes = plan.getLong(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
                return;
            }
        }
        throw new UnsupportedByCudnnException(
                "no engine of cuDNN %s computes %s on compute capability %s%s"
                        .formatted(
                                cudnn().versionText(),
                                graph.label(),
                                device.computeCapability() / 10.0,
                                refusals.isEmpty() ? "" : ": " + String.join("; ", refusals)));
    }

    /** The engine with its settings, or nothing where this cuDNN or device does not have it. */
    private List<Descriptor> config(
            Descriptor operations, EngineChoice choice, List<String> refusals) {
        Descriptor engine =
                create(CUDNN_BACKEND_ENGINE_DESCRIPTOR, "engine " + choice.engine())
                        .set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, operations)
                        .set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, choice.engine());
        device.describeEngine(engine);
        if (!finished(engine, refusals)) {
            return List.of();
        }
        Descriptor[] knobs =
                choice.knobs().entrySet().stream()
                        .map(knob -> knob(knob.getKey(), knob.getValue()))
                        .toArray(Descriptor[]::new);
        Descriptor config =
                create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "engine " + choice.engine())
                        .set(CUDNN_ATTR_ENGINECFG_ENGINE, engine)
                        .set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, knobs);
        return finished(config, refusals) ? List.of(config) : List.of();
    }

    private Descriptor knob(int type, long value) {
        return create(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, "knob " + type)
                .set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, type)
                .set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, value)
                .finish();
    }

    /** What cuDNN proposes, best first; the fallback engines where it proposes nothing. */
    private List<Descriptor> heuristic(Descriptor operations, List<String> refusals) {
        for (int mode : new int[] {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
            Descriptor heuristics =
                    create(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, "heuristics")
                            .set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, operations)
                            .set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
            device.describeHeuristics(heuristics);
            if (finished(heuristics, refusals)) {
                Descriptor[] configs =
                        new Descriptor
                                [heuristics.count(
                                        CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                        CUDNN_TYPE_BACKEND_DESCRIPTOR)];
                Arrays.setAll(
                        configs, i -> create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "proposal " + i));
                int found =
                        configs.length == 0
                                ? 0
                                : heuristics.getInto(CUDNN_ATTR_ENGINEHEUR_RESULTS, configs);
                if (found > 0) {
                    return List.of(configs).subList(0, found);
                }
            }
        }
        return List.of();
    }

    private boolean finished(Descriptor descriptor, List<String> refusals) {
        int status = descriptor.tryFinish();
        if (status != CUDNN_STATUS_SUCCESS) {
            refusals.add(cudnn().reason(status));
        }
        return status == CUDNN_STATUS_SUCCESS;
    }

    private Descriptor create(int type, String name) {
        Descriptor descriptor = Descriptor.create(cudnn(), type, graph.label() + ": " + name);
        owned.add(descriptor);
        return descriptor;
    }

    private Cudnn cudnn() {
        return graph.cudnn();
    }

    /** What each execution may write in, aligned to 256 bytes; 0 when it needs none. */
    long workspaceBytes() {
        return workspaceBytes;
    }

    /** The graph, the engine, its settings and its kernels as JSON: equal for equal plans. */
    String description() {
        return plan.getText(CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION);
    }

    /** Starts the computation in the handle's stream. */
    void execute(Map<GraphTensor, Long> addresses, long workspace) {
        try (Descriptor pack = pack(addresses, workspace)) {
            device.execute(plan, pack, graph.label());
        }
    }

    /** Addresses of all tensors, as an execution takes them. */
    private Descriptor pack(Map<GraphTensor, Long> addresses, long workspace) {
        graph.inMemory().forEach(tensor -> tensor.requireAddress(addresses.get(tensor)));
        if (workspaceBytes > 0 && (workspace == 0 || workspace % WORKSPACE_ALIGNMENT != 0)) {
            throw new IllegalArgumentException(
                    "%s needs %d bytes of workspace, got address 0x%x"
                            .formatted(graph.label(), workspaceBytes, workspace));
        }
        Map<GraphTensor, Long> all = new LinkedHashMap<>(graph.values());
        graph.inMemory().forEach(tensor -> all.put(tensor, addresses.get(tensor)));
        Descriptor pack =
                Descriptor.create(cudnn(), CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, graph.label());
        try {
            return pack.set(
                            CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS,
                            all.keySet().stream().mapToLong(GraphTensor::id).toArray())
                    .setPointers(
                            CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                            all.values().stream().mapToLong(Long::longValue).toArray())
                    .setPointers(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace)
                    .finish();
        } catch (RuntimeException | Error e) {
            pack.close();
            throw e;
        }
    }

    @Override
    public void close() {
        owned.reversed().forEach(Descriptor::close);
        graph.close();
    }
}
