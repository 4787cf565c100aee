package jlora.trainer.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.Container;
import io.fabric8.kubernetes.api.model.EnvVar;
import io.fabric8.kubernetes.api.model.PodSpec;
import io.fabric8.kubernetes.api.model.PodTemplateSpec;
import io.fabric8.kubernetes.api.model.Quantity;
import io.fabric8.kubernetes.api.model.Service;
import io.fabric8.kubernetes.api.model.Volume;
import io.fabric8.kubernetes.api.model.batch.v1.Job;
import io.fabric8.kubernetes.api.model.batch.v1.JobSpec;
import io.fabric8.kubernetes.api.model.batch.v1.PodFailurePolicyRule;

import jlora.runtime.ExitCode;
import jlora.trainer.cli.CommandLineRun;
import jlora.trainer.config.RunConfig;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/** Manifests have only fields that the cluster knows, and say what the job needs. */
class KubernetesManifestTest {
    @TempDir Path folder;
    private Launch launch;

    @BeforeEach
    void create() throws IOException {
        launch = Launch.in(folder);
    }

    private KubernetesObjects manifest(Object... words) {
        CommandLineRun run = launch.kubernetes(words);
        assertEquals(0, run.code(), run.err());
        return KubernetesObjects.read(run.out());
    }

    private static PodSpec pod(KubernetesObjects objects, String kind) {
        return template(objects, kind).getSpec();
    }

    private static PodTemplateSpec template(KubernetesObjects objects, String kind) {
        return kind.equals("volcano")
                ? objects.one(KubernetesObjects.VolcanoJob.class)
                        .spec()
                        .tasks()
                        .getFirst()
                        .template()
                : job(objects, kind).getTemplate();
    }

    private static JobSpec job(KubernetesObjects objects, String kind) {
        return switch (kind) {
            case "job" -> objects.one(Job.class).getSpec();
            case "jobset" ->
                    objects.one(KubernetesObjects.JobSet.class)
                            .spec()
                            .replicatedJobs()
                            .getFirst()
                            .template()
                            .getSpec();
            case "kubeflow" ->
                    objects.one(KubernetesObjects.TrainingRuntime.class)
                            .spec()
                            .template()
                            .spec()
                            .replicatedJobs()
                            .getFirst()
                            .template()
                            .getSpec();
            default -> throw new IllegalArgumentException(kind);
        };
    }

    private static Map<String, String> environment(Container container) {
        return container.getEnv().stream()
                .collect(Collectors.toMap(EnvVar::getName, EnvVar::getValue));
    }

    @ParameterizedTest
    @CsvSource({"job", "jobset", "kubeflow", "volcano"})
    void everyPodIsCareful(String kind) {
        KubernetesObjects objects =
                manifest("--kind", kind, "--device", "h100", "--workers", 16, "--grace", 200);
        PodSpec pod = pod(objects, kind);
        assertEquals("Never", pod.getRestartPolicy());
        assertEquals(200L, pod.getTerminationGracePeriodSeconds());
        assertEquals(true, pod.getSecurityContext().getRunAsNonRoot());
        assertEquals(10001L, pod.getSecurityContext().getRunAsUser());
        assertEquals(false, pod.getAutomountServiceAccountToken());
        Container container = pod.getContainers().getFirst();
        assertEquals(List.of("ALL"), container.getSecurityContext().getCapabilities().getDrop());
        assertEquals(false, container.getSecurityContext().getAllowPrivilegeEscalation());
        assertEquals("/ready", container.getReadinessProbe().getHttpGet().getPath());
        assertEquals("/live", container.getLivenessProbe().getHttpGet().getPath());
        assertEquals("/live", container.getStartupProbe().getHttpGet().getPath());
        assertEquals("/dev/termination-log", container.getTerminationMessagePath());
        assertEquals(new Quantity("8"), container.getResources().getLimits().get("nvidia.com/gpu"));
        Quantity memory = container.getResources().getRequests().get("memory");
        assertEquals(memory, container.getResources().getLimits().get("memory"));
        Volume shm =
                pod.getVolumes().stream()
                        .filter(v -> v.getName().equals("shm"))
                        .findFirst()
                        .orElseThrow();
        assertEquals("Memory", shm.getEmptyDir().getMedium());
        assertEquals(new Quantity("2048Mi"), shm.getEmptyDir().getSizeLimit());
        // Eight workers of heap, Java and CUDA, what they share, and who starts them.
        assertEquals(new Quantity((8 * (2048 + 512 + 4096) + 2048 + 512) + "Mi"), memory);
        Map<String, String> annotations = template(objects, kind).getMetadata().getAnnotations();
        assertEquals("true", annotations.get("prometheus.io/scrape"));
        assertEquals("9400", annotations.get("prometheus.io/port"));
        assertTrue(container.getCommand().contains("metrics_port=9400"), container + "");
        assertTrue(container.getCommand().contains("resume_from_checkpoint=auto"), container + "");
        assertTrue(container.getCommand().contains("device=cuda"), container + "");
    }

    @ParameterizedTest
    @CsvSource({"job, jlora", "jobset, jlora", "kubeflow, node"})
    void exitCodesDecideWhatBecomesOfThePod(String kind, String name) {
        KubernetesObjects objects = manifest("--kind", kind, "--device", "cpu");
        assertEquals(name, pod(objects, kind).getContainers().getFirst().getName());
        List<PodFailurePolicyRule> rules = job(objects, kind).getPodFailurePolicy().getRules();
        assertEquals("FailJob", rules.get(0).getAction());
        assertEquals(List.of(2, 3, 4, 5), rules.get(0).getOnExitCodes().getValues());
        assertEquals("Ignore", rules.get(1).getAction());
        assertEquals(List.of(75), rules.get(1).getOnExitCodes().getValues());
        assertEquals("Ignore", rules.get(2).getAction());
        assertEquals("DisruptionTarget", rules.get(2).getOnPodConditions().getFirst().getType());
        assertEquals("Count", rules.get(3).getAction());
        assertEquals(List.of(6, 7, 8, 70), rules.get(3).getOnExitCodes().getValues());
        for (PodFailurePolicyRule rule : rules) {
            if (rule.getOnExitCodes() != null) {
                assertEquals(name, rule.getOnExitCodes().getContainerName());
                assertEquals("In", rule.getOnExitCodes().getOperator());
            }
        }
    }

    @Test
    void podsOfAnIndexedJobFindRankZero() {
        KubernetesObjects objects =
                manifest("--device", "h100", "--workers", 4, "--workers-per-node", 1);
        Job job = objects.one(Job.class);
        assertEquals("Indexed", job.getSpec().getCompletionMode());
        assertEquals(4, job.getSpec().getCompletions());
        assertEquals(4, job.getSpec().getParallelism());
        // One incident is a failure of each pod.
        assertEquals(12, job.getSpec().getBackoffLimit());
        assertNull(job.getSpec().getSuspend());
        Service service = objects.one(Service.class);
        assertEquals("None", service.getSpec().getClusterIP());
        assertEquals(true, service.getSpec().getPublishNotReadyAddresses());
        assertEquals(
                Map.of("batch.kubernetes.io/job-name", "first"), service.getSpec().getSelector());
        assertEquals("first", service.getMetadata().getName());
        PodSpec pod = job.getSpec().getTemplate().getSpec();
        assertEquals("first", pod.getSubdomain());
        Container container = pod.getContainers().getFirst();
        assertEquals("jlora", container.getCommand().getFirst());
        assertEquals("train", container.getCommand().get(1));
        Map<String, String> environment = environment(container);
        assertEquals("first-0.first", environment.get("MASTER_ADDR"));
        assertEquals("4", environment.get("JLORA_WORLD_SIZE"));
        assertEquals("-Xmx2048m", environment.get("JLORA_JAVA_OPTS"));
        assertEquals("/data/runs/first/launch/cache", environment.get("JLORA_CACHE_DIR"));
    }

    @Test
    void onePodNeedsNoService() {
        KubernetesObjects objects = manifest("--device", "cpu", "--workers", 2);
        assertFalse(objects.has(Service.class));
        Container container = pod(objects, "job").getContainers().getFirst();
        // Workers on CPUs share a pod, joined by Open MPI.
        assertEquals(
                List.of("jlora", "launch", "local", "--workers", "2"),
                container.getCommand().subList(0, 5));
        assertFalse(container.getResources().getLimits().containsKey("nvidia.com/gpu"));
        assertEquals(new Quantity("8"), container.getResources().getRequests().get("cpu"));
        assertTrue(container.getCommand().contains("cpu_threads=4"), container + "");
    }

    @Test
    void severalPodsOfSeveralGpusAreToldTheirNumber() {
        KubernetesObjects objects = manifest("--device", "h100", "--workers", 16);
        List<String> command = pod(objects, "job").getContainers().getFirst().getCommand();
        assertEquals(
                List.of(
                        "jlora",
                        "launch",
                        "local",
                        "--workers",
                        "16",
                        "--nodes",
                        "2",
                        "--node-rank",
                        "$(JOB_COMPLETION_INDEX)",
                        "--master-addr",
                        "first-0.first",
                        "--master-port",
                        "29500"),
                command.subList(0, 13));
    }

    @Test
    void aJobSetStartsAllPodsAnewTogether() {
        KubernetesObjects objects =
                manifest(
                        "--kind",
                        "jobset",
                        "--device",
                        "h100",
                        "--workers",
                        2,
                        "--workers-per-node",
                        1,
                        "--retries",
                        5);
        KubernetesObjects.JobSetSpec spec = objects.one(KubernetesObjects.JobSet.class).spec();
        assertEquals(0, job(objects, "jobset").getBackoffLimit());
        assertEquals(5, spec.failurePolicy().maxRestarts());
        assertEquals(
                KubernetesObjects.FailureAction.FailJobSet,
                spec.failurePolicy().rules().getFirst().action());
        assertEquals(
                List.of("PodFailurePolicy"),
                spec.failurePolicy().rules().getFirst().onJobFailureReasons());
        assertEquals(true, spec.network().publishNotReadyAddresses());
        assertEquals(
                "first-workers-0-0.first",
                environment(pod(objects, "jobset").getContainers().getFirst()).get("MASTER_ADDR"));
    }

    @Test
    void aTrainJobBringsItsRuntime() {
        KubernetesObjects objects =
                manifest(
                        "--kind",
                        "kubeflow",
                        "--device",
                        "h100",
                        "--workers",
                        4,
                        "--workers-per-node",
                        1,
                        "--namespace",
                        "team");
        KubernetesObjects.TrainJob job = objects.one(KubernetesObjects.TrainJob.class);
        KubernetesObjects.TrainingRuntime runtime =
                objects.one(KubernetesObjects.TrainingRuntime.class);
        assertEquals("TrainingRuntime", job.spec().runtimeRef().kind());
        assertEquals(runtime.metadata().getName(), job.spec().runtimeRef().name());
        assertEquals("team", runtime.metadata().getNamespace());
        assertEquals(4, job.spec().trainer().numNodes());
        assertEquals(1, job.spec().trainer().numProcPerNode());
        KubernetesObjects.ReplicatedJob node =
                runtime.spec().template().spec().replicatedJobs().getFirst();
        assertEquals("node", node.name());
        assertEquals(
                "trainer",
                node.template()
                        .getMetadata()
                        .getLabels()
                        .get("trainer.kubeflow.org/trainjob-ancestor-step"));
        // The controller's own variables must not be overruled by ours.
        Map<String, String> environment =
                environment(pod(objects, "kubeflow").getContainers().getFirst());
        assertFalse(environment.containsKey("MASTER_ADDR"), environment + "");
        assertFalse(environment.containsKey("JLORA_WORLD_SIZE"), environment + "");
    }

    @Test
    void aVolcanoJobStartsWhenAllItsPodsCan() {
        KubernetesObjects objects =
                manifest(
                        "--kind",
                        "volcano",
                        "--device",
                        "h100",
                        "--workers",
                        4,
                        "--workers-per-node",
                        1,
                        "--queue",
                        "research");
        KubernetesObjects.VolcanoSpec spec = objects.one(KubernetesObjects.VolcanoJob.class).spec();
        assertEquals("volcano", spec.schedulerName());
        assertEquals(4, spec.minAvailable());
        assertEquals("research", spec.queue());
        assertEquals(Map.of("env", List.of(), "svc", List.of()), spec.plugins());
        assertEquals(
                List.of(2, 3, 4, 5),
                spec.policies().stream()
                        .filter(p -> p.action() == KubernetesObjects.VolcanoAction.TerminateJob)
                        .map(KubernetesObjects.VolcanoPolicy::exitCode)
                        .toList());
        // The first policy that matches decides, so that the events come last.
        assertEquals("PodEvicted", spec.policies().get(4).event());
        assertEquals("PodFailed", spec.policies().get(5).event());
        Container container =
                spec.tasks().getFirst().template().getSpec().getContainers().getFirst();
        assertEquals(
                List.of("env", "RANK=$(VC_TASK_INDEX)", "jlora", "train"),
                container.getCommand().subList(0, 4));
        assertEquals("4", environment(container).get("WORLD_SIZE"));
        assertEquals("first-worker-0.first", environment(container).get("MASTER_ADDR"));
    }

    @Test
    void kueueLetsAQueuedJobStart() {
        KubernetesObjects job = manifest("--device", "cpu", "--queue", "team-a");
        assertEquals(true, job.one(Job.class).getSpec().getSuspend());
        assertEquals(
                "team-a",
                job.one(Job.class).getMetadata().getLabels().get("kueue.x-k8s.io/queue-name"));
        KubernetesObjects set =
                manifest("--kind", "jobset", "--device", "cpu", "--queue", "team-a");
        assertEquals(true, set.one(KubernetesObjects.JobSet.class).spec().suspend());
        KubernetesObjects train =
                manifest("--kind", "kubeflow", "--device", "cpu", "--queue", "team-a");
        KubernetesObjects.TrainJob trainJob = train.one(KubernetesObjects.TrainJob.class);
        assertEquals(true, trainJob.spec().suspend());
        assertEquals("team-a", trainJob.metadata().getLabels().get("kueue.x-k8s.io/queue-name"));
        assertNull(
                train.one(KubernetesObjects.TrainingRuntime.class)
                        .metadata()
                        .getLabels()
                        .get("kueue.x-k8s.io/queue-name"));
    }

    @Test
    void theConfigMapIsTheRun() throws IOException {
        KubernetesObjects objects = manifest("--device", "cpu", "learning_rate=3e-4");
        String yaml = objects.one(ConfigMap.class).getData().get("config.yaml");
        Path file = Files.writeString(folder.resolve("read-back.yaml"), yaml);
        RunConfig back = RunConfig.load(Optional.of(file), List.of());
        assertEquals(3e-4, back.train().learningRate());
        assertEquals(Optional.of(Path.of("/data/runs/first")), back.output().outputDir());
        assertEquals(
                "first-config",
                pod(objects, "job").getVolumes().getFirst().getConfigMap().getName());
    }

    @Test
    void placementIsPassedOn() {
        KubernetesObjects objects =
                manifest(
                        "--device",
                        "cpu",
                        "--node-selector",
                        "gpu=h100",
                        "--toleration",
                        "nvidia.com/gpu",
                        "--service-account",
                        "trainer",
                        "--priority-class",
                        "low",
                        "--volume",
                        "models:/models:ro",
                        "--run-as",
                        2000);
        PodSpec pod = pod(objects, "job");
        assertEquals(Map.of("gpu", "h100"), pod.getNodeSelector());
        assertEquals("nvidia.com/gpu", pod.getTolerations().getFirst().getKey());
        assertEquals("trainer", pod.getServiceAccountName());
        assertEquals("low", pod.getPriorityClassName());
        assertEquals(2000L, pod.getSecurityContext().getFsGroup());
        Volume models = pod.getVolumes().getLast();
        assertEquals("models", models.getPersistentVolumeClaim().getClaimName());
        assertEquals(true, models.getPersistentVolumeClaim().getReadOnly());
    }

    @Test
    void aFieldThatTheApiLacksWouldBeFound() {
        String good = launch.kubernetes("--device", "cpu").out();
        KubernetesObjects.read(good);
        for (String field : List.of("restartPolicy", "periodSeconds", "medium", "backoffLimit")) {
            String bad = good.replaceFirst(field + ":", field + "X:");
            assertThrows(RuntimeException.class, () -> KubernetesObjects.read(bad), field);
        }
    }

    @Test
    void pathsThatPodsDoNotHaveAreRefused() {
        launch.kubernetes("--device", "cpu", "output_dir=/elsewhere/run")
                .refused(ExitCode.USAGE, "output_dir /elsewhere/run", "--volume");
        launch.kubernetes("--device", "cpu", "model_name_or_path=/models/one")
                .refused(ExitCode.USAGE, "model_name_or_path /models/one", ":ro");
        launch.kubernetes("--device", "cpu", "--volume", "/data")
                .refused(ExitCode.USAGE, "--volume /data", "CLAIM:/PATH");
    }

    @Test
    void workersOnCpusShareAPodOrAreRefused() {
        launch.kubernetes("--device", "cpu", "--workers", 4, "--workers-per-node", 2)
                .refused(ExitCode.USAGE, "--workers-per-node 2", "Open MPI");
    }

    @Test
    void namesComeFromTheFolderOrAreRefused() {
        assertEquals("run-7-of-b", KubernetesSettings.nameFrom("2024_Run 7 (of B)"));
        assertEquals("jlora", KubernetesSettings.nameFrom("..."));
        assertEquals(40, KubernetesSettings.nameFrom("a".repeat(99)).length());
        launch.kubernetes("--device", "cpu", "--name", "My_Run")
                .refused(ExitCode.USAGE, "'My_Run'", "--name");
    }
}
