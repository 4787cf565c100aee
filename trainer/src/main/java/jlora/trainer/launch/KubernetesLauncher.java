package jlora.trainer.launch;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.config.DatasetConfig;
import jlora.trainer.config.Purpose;
import jlora.trainer.config.RunConfig;

import picocli.CommandLine.Option;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Creates the objects of a job on Kubernetes with {@code kubectl}. */
final class KubernetesLauncher implements Launcher {
    /** What the image of the Dockerfile brings along. */
    private static final Path IMAGE_FILES = Path.of("/opt/jlora");

    /** Where workers look for metrics and health, unless the configuration says it. */
    private static final int METRICS_PORT = 9400;

    @Option(
            names = "--kind",
            paramLabel = "KIND",
            defaultValue = "job",
            description =
                    "Object that runs the job: job (Indexed Job), jobset (JobSet), kubeflow"
                            + " (TrainJob of Trainer v2) or volcano (Volcano Job). Default:"
                            + " ${DEFAULT-VALUE}.")
    private String kind;

    @Option(
            names = "--image",
            paramLabel = "NAME",
            required = true,
            description = "Container image, built from the Dockerfile.")
    private String image;

    @Option(
            names = "--volume",
            paramLabel = "CLAIM:/PATH[:ro]",
            description =
                    "Persistent volume claim, and where pods see it; may be repeated. The paths of"
                            + " the configuration are those that pods see.")
    private List<String> volumes = new ArrayList<>();

    @Option(
            names = "--plan-model",
            paramLabel = "FOLDER",
            description =
                    "Where config.json of the base model is on this machine, to plan with, if not"
                            + " at model_name_or_path.")
    private Optional<Path> planModel = Optional.empty();

    @Option(names = "--name", paramLabel = "NAME", description = "Default: that of output_dir.")
    private Optional<String> name = Optional.empty();

    @Option(names = "--namespace", paramLabel = "NAME", description = "Default: kubectl's.")
    private Optional<String> namespace = Optional.empty();

    @Option(
            names = "--queue",
            paramLabel = "NAME",
            description = "Queue of Kueue that lets the job start; with --kind volcano, Volcano's.")
    private Optional<String> queue = Optional.empty();

    @Option(
            names = "--service-account",
            paramLabel = "NAME",
            description = "Service account of pods. Default: none, and no token in them.")
    private Optional<String> serviceAccount = Optional.empty();

    @Option(names = "--priority-class", paramLabel = "NAME", description = "Priority class.")
    private Optional<String> priorityClass = Optional.empty();

    @Option(
            names = "--node-selector",
            paramLabel = "KEY=VALUE",
            description = "Label that nodes must have; may be repeated.")
    private Map<String, String> nodeSelector = new LinkedHashMap<>();

    @Option(
            names = "--toleration",
            paramLabel = "KEY",
            description = "Taint of nodes that is accepted; may be repeated.")
    private List<String> tolerations = new ArrayList<>();

    @Option(
            names = {"--workers-per-node", "--gpus-per-node"},
            paramLabel = "N",
            description =
                    "Workers in one pod. Default: all of them, on GPUs at most 8; on GPUs that is"
                            + " also the number of GPUs of a pod.")
    private Optional<Integer> perNode = Optional.empty();

    @Option(
            names = "--cpus",
            paramLabel = "N",
            description = "CPUs of each worker. Default: cpu_threads if it is set, else 4.")
    private Optional<Integer> cpus = Optional.empty();

    @Option(
            names = "--grace",
            paramLabel = "SECONDS",
            description = "From the signal to the end. Default: 300, or what --step-seconds needs.")
    private Optional<Integer> grace = Optional.empty();

    @Option(
            names = "--step-seconds",
            paramLabel = "SECONDS",
            description =
                    "How long an optimizer step takes; --grace becomes two of them and a"
                            + " checkpoint, and is refused if it is less.")
    private Optional<Double> stepSeconds = Optional.empty();

    @Option(
            names = "--retries",
            paramLabel = "N",
            defaultValue = "3",
            description =
                    "Restarts after failures that may pass (exit codes 6, 7, 8, 70); preemptions do"
                            + " not count. Default: ${DEFAULT-VALUE}.")
    private int retries;

    @Option(
            names = "--run-as",
            paramLabel = "UID",
            defaultValue = "10001",
            description = "User and group of pods, not 0. Default: ${DEFAULT-VALUE}.")
    private int user;

    @Override
    public String name() {
        return "kubernetes";
    }

    @Override
    public String description() {
        return "Writes a manifest for Kubernetes and creates its objects with kubectl: a Job, or"
                + " what JobSet, Kubeflow, Volcano and Kueue want in its place.";
    }

    /** Data lies where pods see it, and the model's folder is checked for by planning. */
    @Override
    public Purpose needs() {
        return Purpose.PLAN;
    }

    @Override
    public boolean here() {
        return false;
    }

    @Override
    public List<String> planningWords() {
        return planModel.map(folder -> List.of("model_name_or_path=" + folder)).orElse(List.of());
    }

    @Override
    public int workersPerNode(int workers, boolean gpu) {
        int each = perNode.orElse(gpu ? Math.min(workers, 8) : workers);
        if (!gpu && each != workers) {
            throw JloraException.usage(
                    "--workers-per-node "
                            + each
                            + " leaves workers on CPUs in several pods, which Open MPI cannot join;"
                            + " leave the option out to have all in one pod.");
        }
        return each;
    }

    @Override
    public int launch(LaunchPlan plan, Console console) {
        String manifest = Manifest.of(kind(), plan, settings(plan));
        console.note("jlora launch: " + plan.summary());
        if (console.dryRun()) {
            console.out().print(manifest);
            console.out().flush();
            return ExitCode.DONE.code();
        }
        Tool kubectl = Tool.find("kubectl", "install it, or add --dry-run to see the manifest");
        kubectl.run(console, manifest, "create", "-f", "-");
        return ExitCode.DONE.code();
    }

    private Manifest.Kind kind() {
        for (Manifest.Kind known : Manifest.Kind.values()) {
            if (known.name().equalsIgnoreCase(kind)) {
                return known;
            }
        }
        throw JloraException.usage(
                "--kind " + kind + " is not known; name job, jobset, kubeflow or volcano.");
    }

    private KubernetesSettings settings(LaunchPlan plan) {
        List<KubernetesSettings.Mount> mounts =
                volumes.stream().map(KubernetesSettings.Mount::of).toList();
        requireMounted(plan.config(), mounts);
        int each = cpus.or(() -> plan.config().model().cpuThreads()).orElse(4);
        if (each < 1 || retries < 0 || user < 1) {
            throw JloraException.usage(
                    "--cpus "
                            + each
                            + ", --retries "
                            + retries
                            + " and --run-as "
                            + user
                            + " have to be at least 1, 0 and 1.");
        }
        return new KubernetesSettings(
                name.orElseGet(() -> KubernetesSettings.nameFrom(plan.output().getFileName() + "")),
                namespace,
                image,
                queue,
                serviceAccount,
                priorityClass,
                mounts,
                nodeSelector,
                tolerations,
                each,
                GracePeriod.seconds(grace, stepSeconds, plan.trained()),
                retries,
                plan.config().output().metricsPort().filter(port -> port != 0).orElse(METRICS_PORT),
                user);
    }

    /** What lies outside of volumes is not in a pod, and what is written there ends with it. */
    private static void requireMounted(RunConfig config, List<KubernetesSettings.Mount> mounts) {
        Path output = config.output().outputDir().orElseThrow();
        if (mounts.stream().noneMatch(m -> !m.readOnly() && output.startsWith(m.path()))) {
            throw unmounted(config, "output_dir", output, "--volume CLAIM:/PATH");
        }
        Map<Path, String> read = new LinkedHashMap<>();
        config.model().modelNameOrPath().ifPresent(p -> read.put(p, "model_name_or_path"));
        config.model().adapterNameOrPath().ifPresent(p -> read.put(p, "adapter_name_or_path"));
        for (DatasetConfig dataset : config.data().datasets()) {
            read.put(dataset.path(), "datasets");
        }
        for (DatasetConfig dataset : config.data().evalDatasets()) {
            read.put(dataset.path(), "eval_datasets");
        }
        read.forEach(
                (path, key) -> {
                    boolean there =
                            path.startsWith(IMAGE_FILES)
                                    || mounts.stream().anyMatch(m -> path.startsWith(m.path()));
                    if (!there) {
                        throw unmounted(config, key, path, "--volume CLAIM:/PATH:ro");
                    }
                });
    }

    private static JloraException unmounted(
            RunConfig config, String key, Path path, String option) {
        return JloraException.usage(
                config.place(key).map(p -> p + ": ").orElse("")
                        + key
                        + " "
                        + path
                        + " is on no volume that pods mount; write paths as pods see them, and"
                        + " mount the volume with "
                        + option
                        + ".");
    }
}
