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
                choice.map(engine -> List.of(config(operations, engine)))
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

    private Descriptor config(Descriptor operations, EngineChoice choice) {
        Descriptor engine =
                create(CUDNN_BACKEND_ENGINE_DESCRIPTOR, "engine " + choice.engine())
                        .set(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, operations)
                        .set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, choice.engine());
        device.describeEngine(engine);
        engine.finish();
        Descriptor[] knobs =
                choice.knobs().entrySet().stream()
                        .map(
                                knob ->
                                        create(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, "knob")
                                                .set(
                                                        CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                                                        CUDNN_TYPE_KNOB_TYPE,
                                                        knob.getKey())
                                                .set(
                                                        CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE,
                                                        knob.getValue().longValue())
                                                .finish())
                        .toArray(Descriptor[]::new);
        return create(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, "engine " + choice.engine())
                .set(CUDNN_ATTR_ENGINECFG_ENGINE, engine)
                .set(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, knobs)
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
        Descriptor descriptor =
                Descriptor.create(cudnn(), type, graph.label() + ": " + name);
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
        if (!(device instanceof CudnnHandle handle)) {
            throw new IllegalStateException(graph.label() + " was planned for an absent device");
        }
        if (workspaceBytes > 0 && workspace == 0) {
            throw new IllegalArgumentException(
                    graph.label() + " needs " + workspaceBytes + " bytes of workspace");
        }
        Map<GraphTensor, Long> all = new LinkedHashMap<>(graph.values());
        all.putAll(addresses);
        long[] ids = all.keySet().stream().mapToLong(GraphTensor::id).toArray();
        long[] pointers = all.values().stream().mapToLong(Long::longValue).toArray();
        try (Descriptor pack =
                Descriptor.create(
                        cudnn(), CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, graph.label())) {
            pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
                    .setPointers(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, pointers)
                    .setPointers(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace)
                    .finish();
            cudnn().check(
                            "cudnnBackendExecute",
                            cudnn().sys()
                                    .cudnnBackendExecute(
                                            handle.handle(), plan.handle(), pack.handle()),
                            graph.label());
        }
    }

    @Override
    public void close() {
        owned.reversed().forEach(Descriptor::close);
        graph.close();
    }
}
