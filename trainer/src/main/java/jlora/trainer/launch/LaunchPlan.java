package jlora.trainer.launch;

import jlora.cu.CudaLibraries;
import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cuda.CudaDevices;
import jlora.trainer.config.ResumeFrom;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.Backends;
import jlora.trainer.job.Bytes;
import jlora.trainer.job.Device;
import jlora.trainer.job.PlanJob;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A job that fits: what runs, on what, and how much it takes.
 *
 * @param config of the run, as workers get it
 * @param words the options of {@code jlora train} that say the same on this machine
 * @param device that each worker has, or for CPUs its share of a machine
 * @param memory host memory of one worker
 * @param bytes of the plan of one worker
 * @param trained parameters
 */
public record LaunchPlan(
        RunConfig config,
        List<String> words,
        Device device,
        Layout layout,
        WorkerMemory memory,
        long bytes,
        long trained) {
    private static final String CPU = "cpu";
    private static final String AUTO = "auto";

    /**
     * What the command line says of the machines.
     *
     * @param device by its name in {@code jlora plan}, to plan for one that is not here
     * @param nodeMemory bytes of host memory that a machine has for the job
     * @param heap bytes of Java's heap
     */
    public record Machine(Optional<String> device, Optional<Long> nodeMemory, long heap) {}

    public LaunchPlan {
        words = List.copyOf(words);
    }

    /**
     * Plans one worker; all have equal plans.
     *
     * @param config of the run, as workers get it
     * @param planned the same run with paths that exist here
     * @throws JloraException exit code 4 if it does not fit
     */
    public static LaunchPlan of(
            RunConfig config,
            RunConfig planned,
            List<String> words,
            int workers,
            Machine machine,
            Launcher launcher) {
        if (!launcher.here()) {
            refuseOtherBeginnings(config);
        }
        Optional<Device> named = named(config, machine, launcher);
        Device here = named.orElseGet(() -> present(planned));
        Layout layout = new Layout(workers, launcher.workersPerNode(workers, here.gpu()));
        if (launcher.here() && named.isEmpty() && here.gpu()) {
            requireGpus(config, layout);
        }
        Device device =
                Backends.limited(
                        planned, here.gpu() ? here : share(here, layout, machine, launcher));
        PlanJob job = new PlanJob(planned, device, workers);
        if (!job.fits()) {
            throw new JloraException(ExitCode.OUT_OF_MEMORY, job.advice());
        }
        long bytes = job.plan().totalBytes();
        WorkerMemory memory = WorkerMemory.of(device.gpu(), bytes, machine.heap());
        requireHostMemory(memory, layout, machine);
        return new LaunchPlan(
                config, words, device, layout, memory, bytes, job.plan().trainedParameters());
    }

    /** A job that is restarted has to go on from its own checkpoints, wherever it began. */
    private static void refuseOtherBeginnings(RunConfig config) {
        if (config.save().resumeFromCheckpoint().orElse(null)
                instanceof ResumeFrom.Folder(Path path)) {
            throw JloraException.usage(
                    place(config, "resume_from_checkpoint")
                            + "resume_from_checkpoint is "
                            + path
                            + ", but a job that a scheduler may restart goes on from the newest"
                            + " checkpoint in its output_dir; remove the key, or start from that"
                            + " folder by adapter_name_or_path.");
        }
        if (config.output().overwrite()) {
            throw JloraException.usage(
                    place(config, "overwrite")
                            + "overwrite would have to mean the first start of the job alone, which"
                            + " goes on with what its output_dir holds whenever it starts; remove"
                            + " the key, and what is in output_dir.");
        }
    }

    private static Optional<Device> named(RunConfig config, Machine machine, Launcher launcher) {
        String asked = config.model().device();
        if (machine.device().isPresent()) {
            String name = machine.device().get();
            boolean gpu = !name.equals(CPU);
            if (!asked.equals(AUTO) && gpu == asked.equals(CPU)) {
                throw JloraException.usage(
                        place(config, "device")
                                + "device is "
                                + asked
                                + ", but --device plans for "
                                + name
                                + "; change one of them.");
            }
            return Optional.of(gpu ? Device.of(name) : Device.cpu());
        }
        if (launcher.here()) {
            return Optional.empty();
        }
        if (asked.equals(CPU)) {
            return Optional.of(Device.cpu());
        }
        throw JloraException.usage(
                place(config, "device")
                        + "device is "
                        + asked
                        + ", and what this machine has says nothing of those that will run the job;"
                        + " add --device h100 (or another name that jlora plan takes), or --device"
                        + " cpu.");
    }

    private static Device present(RunConfig config) {
        try (Backend backend = Backends.open(config)) {
            return Backends.device(config, backend);
        }
    }

    private static void requireGpus(RunConfig config, Layout layout) {
        int found =
                CudaDevices.find(CudaLibraries.find(), config.model().cudaBinding()).all().size();
        if (found < layout.perNode()) {
            throw JloraException.usage(
                    layout.perNode()
                            + " workers need as many GPUs on this machine, which has "
                            + found
                            + "; give fewer --workers.");
        }
    }

    /** What one of a machine's workers may fill with its plan. */
    private static Device share(Device cpu, Layout layout, Machine machine, Launcher launcher) {
        if (machine.nodeMemory().isPresent()) {
            long each = machine.nodeMemory().get() / layout.perNode();
            return cpu.limitedTo(Math.max(0, each - WorkerMemory.beyondPlan(machine.heap())));
        }
        // Elsewhere the scheduler knows how much its machines have, and is told what is needed.
        return launcher.here()
                ? cpu.limitedTo(cpu.bytes() / layout.perNode())
                : cpu.limitedTo(Long.MAX_VALUE / 4);
    }

    private static void requireHostMemory(WorkerMemory memory, Layout layout, Machine machine) {
        long needed = (memory.mib() << 20) * layout.perNode();
        if (machine.nodeMemory().isPresent() && needed > machine.nodeMemory().get()) {
            throw new JloraException(
                    ExitCode.OUT_OF_MEMORY,
                    layout.perNode()
                            + " workers on a machine need "
                            + Bytes.text(needed)
                            + " of host memory, but it has "
                            + Bytes.text(machine.nodeMemory().get())
                            + "; lower --heap, or give fewer --workers-per-node.");
        }
    }

    private static String place(RunConfig config, String key) {
        return config.place(key).map(p -> p + ": ").orElse("");
    }

    public boolean gpu() {
        return device.gpu();
    }

    /** Host memory of the workers on one machine, MiB. */
    public long nodeMib() {
        return memory.mib() * layout.perNode();
    }

    /** Where the job writes. */
    public Path output() {
        return config.output().outputDir().orElseThrow();
    }

    /** What a job that a scheduler runs is told beyond its configuration. */
    List<String> jobWords() {
        List<String> told = new ArrayList<>(List.of("resume_from_checkpoint=auto"));
        if (config.model().device().equals(AUTO)) {
            told.add("device=" + (gpu() ? "cuda" : CPU));
        }
        return told;
    }

    /** One line for people. */
    public String summary() {
        return String.format(
                "%d worker%s on %d machine%s, each %s of %s, and %,d MiB of host memory",
                layout.workers(),
                layout.workers() == 1 ? "" : "s",
                layout.nodes(),
                layout.nodes() == 1 ? "" : "s",
                Bytes.text(bytes),
                gpu() ? device.label() : "memory",
                memory.mib());
    }
}
