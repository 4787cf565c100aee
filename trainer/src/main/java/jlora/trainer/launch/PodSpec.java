package jlora.trainer.launch;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The pod that every kind of object runs: one machine's workers.
 *
 * @param container its name
 * @param index the variable that holds the pod's number, as {@code $(NAME)}
 * @param masterAddress host of pod 0
 * @param ranks how the single worker of a pod knows its rank
 */
record PodSpec(
        LaunchPlan plan,
        KubernetesSettings settings,
        String container,
        String index,
        String masterAddress,
        Ranks ranks) {
    /** How a pod is numbered. */
    enum Ranks {
        /** By JOB_COMPLETION_INDEX, as all pods of an Indexed Job. */
        INDEXED,
        /** By torchrun's variables, which the cluster's controller sets. */
        INJECTED,
        /** By RANK, which its command sets from the index. */
        TOLD
    }

    private static final int MIB_OF_THE_STARTER = 512;
    private static final String CONFIG_FOLDER = "/etc/jlora";
    static final String CONFIG_FILE = "config.yaml";
    private static final int MASTER_PORT = 29500;

    String configMap() {
        return settings.name() + "-config";
    }

    private int pods() {
        return plan.layout().nodes();
    }

    private boolean severalWorkers() {
        return plan.layout().perNode() > 1;
    }

    /** What identifies everything that belongs to the job. */
    static Map<String, Object> labels(KubernetesSettings settings) {
        return Maps.of(
                "app.kubernetes.io/name",
                "jlora",
                "app.kubernetes.io/instance",
                settings.name(),
                "app.kubernetes.io/managed-by",
                "jlora-launch");
    }

    /** A template: metadata and spec. */
    Map<String, Object> template() {
        Map<String, Object> annotations =
                Maps.of(
                        "prometheus.io/scrape",
                        "true",
                        "prometheus.io/port",
                        String.valueOf(settings.metricsPort()),
                        "prometheus.io/path",
                        "/metrics");
        return Maps.of(
                "metadata",
                Maps.of("labels", labels(settings), "annotations", annotations),
                "spec",
                spec());
    }

    private Map<String, Object> spec() {
        Map<String, Object> spec = new LinkedHashMap<>();
        spec.put("restartPolicy", "Never");
        spec.put("terminationGracePeriodSeconds", settings.grace());
        spec.put("enableServiceLinks", false);
        settings.serviceAccount().ifPresent(name -> spec.put("serviceAccountName", name));
        if (settings.serviceAccount().isEmpty()) {
            spec.put("automountServiceAccountToken", false);
        }
        settings.priorityClass().ifPresent(name -> spec.put("priorityClassName", name));
        if (!settings.nodeSelector().isEmpty()) {
            spec.put("nodeSelector", settings.nodeSelector());
        }
        if (!settings.tolerations().isEmpty()) {
            spec.put(
                    "tolerations",
                    settings.tolerations().stream()
                            .map(key -> Maps.of("key", key, "operator", "Exists"))
                            .toList());
        }
        spec.put(
                "securityContext",
                Maps.of(
                        "runAsNonRoot",
                        true,
                        "runAsUser",
                        settings.user(),
                        "runAsGroup",
                        settings.user(),
                        "fsGroup",
                        settings.user(),
                        "fsGroupChangePolicy",
                        "OnRootMismatch",
                        "seccompProfile",
                        Maps.of("type", "RuntimeDefault")));
        spec.put("containers", List.of(container(container)));
        spec.put("volumes", volumes());
        return spec;
    }

    private Map<String, Object> container(String name) {
        Map<String, Object> made = new LinkedHashMap<>();
        made.put("name", name);
        made.put("image", settings.image());
        made.put("command", command());
        made.put("env", environment());
        made.put(
                "ports",
                List.of(Maps.of("name", "metrics", "containerPort", settings.metricsPort())));
        made.put("resources", resources());
        // Reading and tokenising come before the port is open; ready is when the model is loaded.
        made.put("startupProbe", probe("/live", 10, 120));
        made.put("livenessProbe", probe("/live", 30, 3));
        made.put("readinessProbe", probe("/ready", 10, 1));
        made.put("terminationMessagePath", "/dev/termination-log");
        made.put("terminationMessagePolicy", "FallbackToLogsOnError");
        made.put(
                "securityContext",
                Maps.of(
                        "allowPrivilegeEscalation",
                        false,
                        "capabilities",
                        Maps.of("drop", List.of("ALL"))));
        made.put("volumeMounts", mounts());
        return made;
    }

    private List<String> command() {
        List<String> words = new ArrayList<>();
        if (severalWorkers()) {
            words.addAll(List.of("jlora", "launch", "local"));
            words.addAll(List.of("--workers", String.valueOf(plan.layout().workers())));
            if (pods() > 1) {
                words.addAll(List.of("--nodes", String.valueOf(pods()), "--node-rank", index));
                words.addAll(List.of("--master-addr", masterAddress));
                words.addAll(List.of("--master-port", String.valueOf(MASTER_PORT)));
            }
        } else {
            if (pods() > 1 && ranks == Ranks.TOLD) {
                words.addAll(List.of("env", "RANK=" + index));
            }
            words.addAll(List.of("jlora", "train"));
        }
        words.addAll(List.of("-c", CONFIG_FOLDER + "/" + CONFIG_FILE));
        words.addAll(plan.jobWords());
        words.add("metrics_port=" + settings.metricsPort());
        if (!plan.gpu() && !plan.config().isSet("cpu_threads")) {
            words.add("cpu_threads=" + settings.cpus());
        }
        return words;
    }

    private List<Map<String, Object>> environment() {
        List<Map<String, Object>> variables = new ArrayList<>();
        variables.add(variable("JLORA_JAVA_OPTS", plan.memory().javaOptions()));
        // Chosen algorithms outlive the pod: another pod must compute the same bits.
        variables.add(variable("JLORA_CACHE_DIR", plan.output().resolve("launch/cache") + ""));
        variables.add(variable("HOME", "/tmp"));
        if (pods() > 1 && !severalWorkers() && ranks != Ranks.INJECTED) {
            String world = String.valueOf(pods());
            if (ranks == Ranks.INDEXED) {
                variables.add(variable("JLORA_WORLD_SIZE", world));
            } else {
                variables.add(variable("WORLD_SIZE", world));
                variables.add(variable("LOCAL_RANK", "0"));
            }
            variables.add(variable("MASTER_ADDR", masterAddress));
            variables.add(variable("MASTER_PORT", String.valueOf(MASTER_PORT)));
        }
        return variables;
    }

    private static Map<String, Object> variable(String name, String value) {
        return Maps.of("name", name, "value", value);
    }

    private Map<String, Object> resources() {
        // Shared memory counts as the container's.
        long mib = plan.nodeMib() + sharedMib() + (severalWorkers() ? MIB_OF_THE_STARTER : 0);
        Map<String, Object> requests = new LinkedHashMap<>();
        requests.put("cpu", String.valueOf(settings.cpus() * plan.layout().perNode()));
        requests.put("memory", mib + "Mi");
        Map<String, Object> limits = new LinkedHashMap<>();
        limits.put("memory", mib + "Mi");
        if (plan.gpu()) {
            // Requests of GPUs follow their limits.
            limits.put("nvidia.com/gpu", String.valueOf(plan.layout().perNode()));
        }
        return Maps.of("requests", requests, "limits", limits);
    }

    /** NCCL and Open MPI talk through /dev/shm between processes of one pod. */
    private int sharedMib() {
        return severalWorkers() ? Math.max(1024, 256 * plan.layout().perNode()) : 256;
    }

    private Map<String, Object> probe(String path, int period, int failures) {
        return Maps.of(
                "httpGet",
                Maps.of("path", path, "port", "metrics"),
                "periodSeconds",
                period,
                "timeoutSeconds",
                5,
                "failureThreshold",
                failures);
    }

    private List<Map<String, Object>> mounts() {
        List<Map<String, Object>> mounts = new ArrayList<>();
        mounts.add(Maps.of("name", "config", "mountPath", CONFIG_FOLDER, "readOnly", true));
        mounts.add(Maps.of("name", "shm", "mountPath", "/dev/shm"));
        mounts.add(Maps.of("name", "tmp", "mountPath", "/tmp"));
        for (int i = 0; i < settings.volumes().size(); i++) {
            KubernetesSettings.Mount mount = settings.volumes().get(i);
            Map<String, Object> made =
                    Maps.of("name", "data-" + i, "mountPath", mount.path().toString());
            if (mount.readOnly()) {
                made.put("readOnly", true);
            }
            mounts.add(made);
        }
        return mounts;
    }

    private List<Map<String, Object>> volumes() {
        List<Map<String, Object>> volumes = new ArrayList<>();
        volumes.add(Maps.of("name", "config", "configMap", Maps.of("name", configMap())));
        volumes.add(
                Maps.of(
                        "name",
                        "shm",
                        "emptyDir",
                        Maps.of("medium", "Memory", "sizeLimit", sharedMib() + "Mi")));
        volumes.add(Maps.of("name", "tmp", "emptyDir", Maps.of()));
        for (int i = 0; i < settings.volumes().size(); i++) {
            KubernetesSettings.Mount mount = settings.volumes().get(i);
            Map<String, Object> claim = Maps.of("claimName", mount.claim());
            if (mount.readOnly()) {
                claim.put("readOnly", true);
            }
            volumes.add(Maps.of("name", "data-" + i, "persistentVolumeClaim", claim));
        }
        return volumes;
    }
}
