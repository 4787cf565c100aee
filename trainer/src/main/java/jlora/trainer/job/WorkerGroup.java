package jlora.trainer.job;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Collective;
import jlora.runtime.backend.cpu.mpi.MpiCollective;
import jlora.runtime.backend.cuda.CudaBackend;
import jlora.trainer.checkpoint.ResumePoint;
import jlora.trainer.checkpoint.RunIdentity;
import jlora.trainer.config.RunConfig;
import jlora.trainer.config.Setting;
import jlora.trainer.launch.Ranks;

import java.time.Duration;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The workers that share a run: this one's rank, and what joins it to the others, if any. */
final class WorkerGroup implements AutoCloseable {
    /** Keys that may well differ from machine to machine; what they lead to is compared instead. */
    private static final Set<String> LOCAL =
            Set.of(
                    "model_name_or_path",
                    "adapter_name_or_path",
                    "datasets",
                    "eval_datasets",
                    "device",
                    "cpu_threads",
                    "memory_limit",
                    "output_dir",
                    "overwrite",
                    "report_to",
                    "metrics_port",
                    "log_format",
                    "resume_from_checkpoint",
                    "step_timeout");

    private static final Pattern VECTORS = Pattern.compile("\\d+-bit vectors");

    private final Ranks ranks;
    private final Optional<Collective> joined;

    private WorkerGroup(Ranks ranks, Optional<Collective> joined) {
        this.ranks = ranks;
        this.joined = joined;
    }

    /** Joins the others, with step_timeout as the most that any wait for them takes. */
    static WorkerGroup join(RunConfig config, Ranks ranks, Backend backend) {
        if (!ranks.several()) {
            return new WorkerGroup(ranks, Optional.empty());
        }
        Duration timeout = Duration.ofMillis((long) (config.job().stepTimeout() * 1000));
        return new WorkerGroup(
                ranks,
                Optional.of(
                        backend instanceof CudaBackend cuda
                                ? GpuWorkers.join(cuda, ranks, timeout)
                                : onCpus(ranks, timeout)));
    }

    private static Collective onCpus(Ranks ranks, Duration timeout) {
        MpiCollective mpi = MpiCollective.join(timeout);
        if (mpi.ranks() != ranks.worldSize() || mpi.rank() != ranks.rank()) {
            throw JloraException.usage(
                    ranks.source().label()
                            + " says that this is rank "
                            + ranks.rank()
                            + " of "
                            + ranks.worldSize()
                            + ", but MPI, which joins workers on CPUs, was started with "
                            + mpi.ranks()
                            + " and this as rank "
                            + mpi.rank()
                            + "; start them by `mpirun -n "
                            + ranks.worldSize()
                            + " jlora train ...` or `srun --mpi=pmix jlora train ...`.");
        }
        return mpi;
    }

    Optional<Collective> collective() {
        return joined;
    }

    /** What the user sees of it; empty with one worker. */
    Optional<String> describe() {
        return joined.map(with -> ranks.worldSize() + " workers, joined by " + with.describe());
    }

    /** Ends all workers, with exit code 2, when they are not about to do the same run. */
    void requireSameRun(TrainJob job, Backend backend, Optional<ResumePoint> resumed) {
        joined.ifPresent(
                with -> new RunAgreement(backend, with).require(facts(job, backend, resumed)));
    }

    private static Map<String, String> facts(
            TrainJob job, Backend backend, Optional<ResumePoint> resumed) {
        Map<String, String> facts = new HashMap<>();
        RunConfig config = job.model().config();
        for (Setting setting : config.settings()) {
            if (!LOCAL.contains(setting.key())) {
                facts.put(setting.key(), setting.value());
            }
        }
        facts.put("the data", job.data().fingerprint());
        facts.put("the base model", job.model().fingerprint());
        facts.put("the adapter to go on from", job.model().adapterFingerprint().orElse("none"));
        facts.put(
                "the checkpoint to go on from",
                resumed.map(point -> point.state().toString()).orElse("none"));
        facts.put("the kind of device", kind(backend));
        return facts;
    }

    /** Workers update their parameters each by itself, and have to come to the same bits. */
    private static String kind(Backend backend) {
        if (backend instanceof CudaBackend cuda) {
            return cuda.device().name();
        }
        Matcher vectors = VECTORS.matcher(backend.describe());
        return vectors.find() ? "cpu, " + vectors.group() : "cpu";
    }

    /** What a checkpoint of this run keeps of it. */
    RunIdentity identity(TrainJob job, Backend backend) {
        return new RunIdentity(
                job.model().fingerprint(),
                job.data().fingerprint(),
                job.model().model().weights().dtype().torchName(),
                ranks.worldSize(),
                backend.describe());
    }

    /** Waits for all workers to have come to their orderly end. */
    void finish() {
        joined.ifPresent(Collective::finish);
    }

    @Override
    public void close() {
        joined.ifPresent(Collective::close);
    }
}
