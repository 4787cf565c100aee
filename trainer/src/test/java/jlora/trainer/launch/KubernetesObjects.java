package jlora.trainer.launch;

import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.api.model.ObjectMeta;
import io.fabric8.kubernetes.api.model.PodTemplateSpec;
import io.fabric8.kubernetes.api.model.Service;
import io.fabric8.kubernetes.api.model.batch.v1.Job;
import io.fabric8.kubernetes.api.model.batch.v1.JobTemplateSpec;

import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;

import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.cfg.MapperConfig;
import tools.jackson.databind.introspect.Annotated;
import tools.jackson.databind.introspect.JacksonAnnotationIntrospector;
import tools.jackson.databind.json.JsonMapper;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A manifest read strictly: any field that the API does not have is an error. Kubernetes' own
 * objects are the client's types. For JobSet, Kubeflow's Trainer and Volcano no types can be had,
 * so the records below have the fields of their definitions (JobSet v1alpha2, Trainer v1alpha1,
 * batch.volcano.sh v1alpha1) that a manifest may set, around the client's types of jobs and pods.
 */
final class KubernetesObjects {
    record JobSet(String apiVersion, String kind, ObjectMeta metadata, JobSetSpec spec) {}

    record JobSetSpec(
            List<ReplicatedJob> replicatedJobs,
            Network network,
            SuccessPolicy successPolicy,
            FailurePolicy failurePolicy,
            Boolean suspend,
            Coordinator coordinator,
            String managedBy,
            Integer ttlSecondsAfterFinished) {}

    record ReplicatedJob(
            String name, String groupName, JobTemplateSpec template, Integer replicas) {}

    record Network(
            Boolean enableDNSHostnames, String subdomain, Boolean publishNotReadyAddresses) {}

    record SuccessPolicy(String operator, List<String> targetReplicatedJobs) {}

    record FailurePolicy(
            Integer maxRestarts, RestartStrategy restartStrategy, List<FailureRule> rules) {}

    enum RestartStrategy {
        Recreate,
        BlockingRecreate,
        InPlaceRestart
    }

    enum FailureAction {
        FailJobSet,
        RestartJobSet,
        RestartJobSetAndIgnoreMaxRestarts,
        RestartJob,
        RestartJobAndIgnoreMaxRestarts
    }

    record FailureRule(
            String name,
            FailureAction action,
            List<String> onJobFailureReasons,
            List<String> onJobFailureMessagePatterns,
            List<String> targetReplicatedJobs) {}

    record Coordinator(String replicatedJob, Integer jobIndex, Integer podIndex) {}

    record TrainingRuntime(
            String apiVersion, String kind, ObjectMeta metadata, TrainingRuntimeSpec spec) {}

    record TrainingRuntimeSpec(MlPolicy mlPolicy, JobSetTemplate template) {}

    record MlPolicy(Integer numNodes, Torch torch) {}

    record Torch() {}

    record JobSetTemplate(ObjectMeta metadata, JobSetSpec spec) {}

    record TrainJob(String apiVersion, String kind, ObjectMeta metadata, TrainJobSpec spec) {}

    record TrainJobSpec(
            RuntimeRef runtimeRef, Trainer trainer, Boolean suspend, String managedBy) {}

    record RuntimeRef(String name, String apiGroup, String kind) {}

    record Trainer(
            String image,
            List<String> command,
            List<String> args,
            Integer numNodes,
            Integer numProcPerNode) {}

    record VolcanoJob(String apiVersion, String kind, ObjectMeta metadata, VolcanoSpec spec) {}

    record VolcanoSpec(
            String schedulerName,
            Integer minAvailable,
            List<VolcanoTask> tasks,
            List<VolcanoPolicy> policies,
            Map<String, List<String>> plugins,
            String queue,
            Integer maxRetry,
            Integer ttlSecondsAfterFinished,
            String priorityClassName,
            Integer minSuccess) {}

    record VolcanoTask(
            String name,
            Integer replicas,
            Integer minAvailable,
            PodTemplateSpec template,
            List<VolcanoPolicy> policies,
            Integer maxRetry) {}

    enum VolcanoAction {
        AbortJob,
        RestartJob,
        RestartTask,
        RestartPod,
        RestartPartition,
        TerminateJob,
        CompleteJob,
        ResumeJob
    }

    record VolcanoPolicy(
            VolcanoAction action, String event, List<String> events, Integer exitCode) {}

    private static final Map<String, Class<?>> TYPES =
            Map.of(
                    "v1 ConfigMap",
                    ConfigMap.class,
                    "v1 Service",
                    Service.class,
                    "batch/v1 Job",
                    Job.class,
                    "jobset.x-k8s.io/v1alpha2 JobSet",
                    JobSet.class,
                    "trainer.kubeflow.org/v1alpha1 TrainingRuntime",
                    TrainingRuntime.class,
                    "trainer.kubeflow.org/v1alpha1 TrainJob",
                    TrainJob.class,
                    "batch.volcano.sh/v1alpha1 Job",
                    VolcanoJob.class);

    private static final JsonMapper STRICT =
            JsonMapper.builder()
                    .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
                    .annotationIntrospector(
                            new JacksonAnnotationIntrospector() {
                                private static final long serialVersionUID = 1L;

                                /** The client's types would take unknown fields in by a setter. */
                                @Override
                                public Boolean hasAnySetter(MapperConfig<?> config, Annotated a) {
                                    return false;
                                }
                            })
                    .build();

    private final List<Object> objects = new ArrayList<>();

    private KubernetesObjects() {}

    static KubernetesObjects read(String manifest) {
        KubernetesObjects read = new KubernetesObjects();
        for (Object document :
                new Load(LoadSettings.builder().build()).loadAllFromString(manifest)) {
            Map<?, ?> map = (Map<?, ?>) document;
            String type = map.get("apiVersion") + " " + map.get("kind");
            if (!TYPES.containsKey(type)) {
                throw new AssertionError("unexpected object " + type);
            }
            read.objects.add(STRICT.convertValue(map, TYPES.get(type)));
        }
        return read;
    }

    int count() {
        return objects.size();
    }

    <T> boolean has(Class<T> type) {
        return objects.stream().anyMatch(type::isInstance);
    }

    /** The only object of a type. */
    <T> T one(Class<T> type) {
        List<T> found = objects.stream().filter(type::isInstance).map(type::cast).toList();
        if (found.size() != 1) {
            throw new AssertionError(found.size() + " objects of " + type + " in " + objects);
        }
        return found.getFirst();
    }
}
