package jlora.trainer.launch;

import jlora.runtime.ExitCode;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The objects of one job, of the kind that the cluster runs. */
final class Manifest {
    /** The kinds, by their name on the command line. */
    enum Kind {
        JOB,
        JOBSET,
        KUBEFLOW,
        VOLCANO
    }

    private static final String QUEUE_LABEL = "kueue.x-k8s.io/queue-name";

    /** Trying again changes nothing. */
    private static final List<Integer> FINAL =
            codes(
                    ExitCode.USAGE,
                    ExitCode.CORRUPT_INPUT,
                    ExitCode.OUT_OF_MEMORY,
                    ExitCode.NUMERICS);

    /** Volcano counts restarts for any reason. */
    private static final int RESTARTS_OF_VOLCANO = 10;

    private final LaunchPlan plan;
    private final KubernetesSettings settings;
    private final String name;

    private Manifest(LaunchPlan plan, KubernetesSettings settings) {
        this.plan = plan;
        this.settings = settings;
        this.name = settings.name();
    }

    static String of(Kind kind, LaunchPlan plan, KubernetesSettings settings) {
        Manifest manifest = new Manifest(plan, settings);
        List<Map<String, Object>> objects = new ArrayList<>();
        objects.add(manifest.configMap());
        objects.addAll(
                switch (kind) {
                    case JOB -> manifest.indexedJob();
                    case JOBSET -> List.of(manifest.jobSet());
                    case KUBEFLOW -> manifest.trainJob();
                    case VOLCANO -> List.of(manifest.volcanoJob());
                });
        return "# jlora launch kubernetes: " + plan.summary() + ".\n" + Yaml.write(objects);
    }

    private static List<Integer> codes(ExitCode... codes) {
        return java.util.Arrays.stream(codes).map(ExitCode::code).toList();
    }

    private int pods() {
        return plan.layout().nodes();
    }

    private Map<String, Object> configMap() {
        return object(
                "v1",
                "ConfigMap",
                name + "-config",
                false,
                "data",
                Maps.of(PodSpec.CONFIG_FILE, plan.config().toYaml()));
    }

    private List<Map<String, Object>> indexedJob() {
        PodSpec pod =
                new PodSpec(
                        plan,
                        settings,
                        "jlora",
                        "$(JOB_COMPLETION_INDEX)",
                        name + "-0." + name,
                        PodSpec.Ranks.INDEXED);
        Map<String, Object> spec = jobSpec(pod, settings.retries() * pods());
        if (settings.queue().isPresent()) {
            spec.put("suspend", true);
        }
        List<Map<String, Object>> objects = new ArrayList<>();
        if (pods() > 1) {
            subdomain(spec);
            // Workers look for rank 0 before any of them is ready.
            objects.add(
                    object(
                            "v1",
                            "Service",
                            name,
                            false,
                            "spec",
                            Maps.of(
                                    "clusterIP",
                                    "None",
                                    "publishNotReadyAddresses",
                                    true,
                                    "selector",
                                    Maps.of("batch.kubernetes.io/job-name", name))));
        }
        objects.add(object("batch/v1", "Job", name, true, "spec", spec));
        return objects;
    }

    @SuppressWarnings("unchecked") // made a few lines above
    private void subdomain(Map<String, Object> jobSpec) {
        Map<String, Object> template = (Map<String, Object>) jobSpec.get("template");
        ((Map<String, Object>) template.get("spec")).put("subdomain", name);
    }

    /**
     * @param counted failures after which it gives up, each pod of an incident being one
     */
    private Map<String, Object> jobSpec(PodSpec pod, int counted) {
        Map<String, Object> spec = new LinkedHashMap<>();
        spec.put("completionMode", "Indexed");
        spec.put("completions", pods());
        spec.put("parallelism", pods());
        spec.put("backoffLimit", counted);
        spec.put("podFailurePolicy", Maps.of("rules", failureRules(pod.container())));
        spec.put("template", pod.template());
        return spec;
    }

    /** The first rule that matches decides. */
    private static List<Map<String, Object>> failureRules(String container) {
        return List.of(
                exitRule("FailJob", container, FINAL),
                exitRule("Ignore", container, codes(ExitCode.PREEMPTED)),
                Maps.of(
                        "action",
                        "Ignore",
                        "onPodConditions",
                        List.of(Maps.of("type", "DisruptionTarget", "status", "True"))),
                exitRule(
                        "Count",
                        container,
                        codes(
                                ExitCode.GPU_FAULT,
                                ExitCode.HANG,
                                ExitCode.CHECKPOINT_IO,
                                ExitCode.INTERNAL)));
    }

    private static Map<String, Object> exitRule(
            String action, String container, List<Integer> codes) {
        return Maps.of(
                "action",
                action,
                "onExitCodes",
                Maps.of("containerName", container, "operator", "In", "values", codes));
    }

    private Map<String, Object> jobSet() {
        String job = "workers";
        PodSpec pod =
                new PodSpec(
                        plan,
                        settings,
                        "jlora",
                        "$(JOB_COMPLETION_INDEX)",
                        name + "-" + job + "-0-0." + name,
                        PodSpec.Ranks.INDEXED);
        Map<String, Object> spec = jobSetSpec(job, Maps.of(), pod);
        if (settings.queue().isPresent()) {
            spec.put("suspend", true);
        }
        return object("jobset.x-k8s.io/v1alpha2", "JobSet", name, true, "spec", spec);
    }

    /** One failure fails the inner job, so that the set starts all pods anew, together. */
    private Map<String, Object> jobSetSpec(String job, Map<String, Object> jobLabels, PodSpec pod) {
        Map<String, Object> template = new LinkedHashMap<>();
        if (!jobLabels.isEmpty()) {
            template.put("metadata", Maps.of("labels", jobLabels));
        }
        template.put("spec", jobSpec(pod, 0));
        return Maps.of(
                "network",
                Maps.of("enableDNSHostnames", true, "publishNotReadyAddresses", true),
                "failurePolicy",
                Maps.of(
                        "maxRestarts",
                        settings.retries(),
                        "rules",
                        List.of(
                                Maps.of(
                                        "name",
                                        "final",
                                        "action",
                                        "FailJobSet",
                                        "onJobFailureReasons",
                                        List.of("PodFailurePolicy")))),
                "replicatedJobs",
                List.of(Maps.of("name", job, "replicas", 1, "template", template)));
    }

    /**
     * A runtime of the job's own, since those of the cluster know neither volumes nor exit codes.
     */
    private List<Map<String, Object>> trainJob() {
        String group = "trainer.kubeflow.org";
        String node = "node"; // a name that the controller looks for
        PodSpec pod =
                new PodSpec(
                        plan,
                        settings,
                        node,
                        "$(PET_NODE_RANK)",
                        "$(PET_MASTER_ADDR)",
                        PodSpec.Ranks.INJECTED);
        Map<String, Object> runtime =
                object(
                        group + "/v1alpha1",
                        "TrainingRuntime",
                        name,
                        false,
                        "spec",
                        Maps.of(
                                "mlPolicy",
                                Maps.of("numNodes", pods(), "torch", Maps.of()),
                                "template",
                                Maps.of(
                                        "spec",
                                        jobSetSpec(
                                                node,
                                                Maps.of(
                                                        group + "/trainjob-ancestor-step",
                                                        "trainer"),
                                                pod))));
        Map<String, Object> spec =
                Maps.of(
                        "runtimeRef",
                        Maps.of("apiGroup", group, "kind", "TrainingRuntime", "name", name),
                        "trainer",
                        Maps.of("numNodes", pods(), "numProcPerNode", plan.layout().perNode()));
        if (settings.queue().isPresent()) {
            spec.put("suspend", true);
        }
        return List.of(runtime, object(group + "/v1alpha1", "TrainJob", name, true, "spec", spec));
    }

    private Map<String, Object> volcanoJob() {
        String task = "worker";
        PodSpec pod =
                new PodSpec(
                        plan,
                        settings,
                        "jlora",
                        "$(VC_TASK_INDEX)",
                        name + "-" + task + "-0." + name,
                        PodSpec.Ranks.TOLD);
        List<Map<String, Object>> policies = new ArrayList<>();
        FINAL.forEach(code -> policies.add(Maps.of("action", "TerminateJob", "exitCode", code)));
        policies.add(Maps.of("action", "RestartJob", "event", "PodEvicted"));
        policies.add(Maps.of("action", "RestartJob", "event", "PodFailed"));
        policies.add(Maps.of("action", "CompleteJob", "event", "TaskCompleted"));
        Map<String, Object> spec = new LinkedHashMap<>();
        spec.put("schedulerName", "volcano");
        settings.queue().ifPresent(queue -> spec.put("queue", queue));
        settings.priorityClass().ifPresent(priority -> spec.put("priorityClassName", priority));
        spec.put("minAvailable", pods());
        spec.put("maxRetry", settings.retries() * RESTARTS_OF_VOLCANO);
        spec.put("plugins", Maps.of("env", List.of(), "svc", List.of()));
        spec.put("policies", policies);
        spec.put(
                "tasks",
                List.of(Maps.of("name", task, "replicas", pods(), "template", pod.template())));
        return object("batch.volcano.sh/v1alpha1", "Job", name, false, "spec", spec);
    }

    /**
     * @param queued whether Kueue decides when it runs, where there is a queue
     * @param part name of the part beside the metadata
     */
    private Map<String, Object> object(
            String version,
            String kind,
            String objectName,
            boolean queued,
            String part,
            Map<String, Object> content) {
        Map<String, Object> labels = PodSpec.labels(settings);
        if (queued) {
            settings.queue().ifPresent(queue -> labels.put(QUEUE_LABEL, queue));
        }
        Map<String, Object> metadata = Maps.of("name", objectName);
        settings.namespace().ifPresent(namespace -> metadata.put("namespace", namespace));
        metadata.put("labels", labels);
        return Maps.of("apiVersion", version, "kind", kind, "metadata", metadata, part, content);
    }
}
