package jlora.trainer.job;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.JloraException;
import jlora.runtime.adapter.lora.LoraSpec;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.io.HuggingFaceFolder;
import jlora.runtime.io.ModelLoader;
import jlora.runtime.io.PeftFolder;
import jlora.runtime.io.SafetensorsEntry;
import jlora.runtime.io.SafetensorsWriter;
import jlora.runtime.model.Model;
import jlora.runtime.model.Models;
import jlora.runtime.tensor.DType;
import jlora.runtime.weight.CheckpointTensor;
import jlora.runtime.weight.FrozenStorage;
import jlora.runtime.weight.QuantizationError;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * Merges an adapter folder into a model folder and writes the model that results, for programs that
 * know no adapters: the same files, the same tensor names, types and shards. Weights stream
 * through; memory stays small whatever the model. An adapter that was trained over quantised
 * weights is merged into the original ones too, and the result says how far those are from what it
 * was trained over; nothing is ever quantised.
 */
public final class MergeJob {
    /**
     * What was written.
     *
     * @param modules merged modules
     * @param tensors of the whole model
     * @param bytes of all tensors
     * @param drift where the adapter was trained over weights in fewer bits
     */
    public record Result(
            Path output, int modules, int tensors, long bytes, Optional<Drift> drift) {}

    /**
     * How far the weights that an adapter is merged into are from those it was trained over.
     *
     * @param storage what those were stored as
     * @param base root of the mean square of their difference, by that of the weights, over the
     *     matrices of all layers
     * @param update the same for the adapter's own change of the matrices that it targets
     */
    public record Drift(String storage, double base, double update) {}

    private final HuggingFaceFolder base;
    private final Map<String, MergedWeight> merged = new LinkedHashMap<>();

    /** The matrices of all layers with their place in the checkpoint. */
    private final Map<CheckpointTensor, SafetensorsEntry> linears = new LinkedHashMap<>();

    private MergeJob(HuggingFaceFolder base) {
        this.base = base;
    }

    /**
     * Writes the merged model; output appears whole or not at all. An adapter for another base is
     * exit code 3, NaN or infinity in a factor, a weight or a sum 5, an output folder that holds
     * something 2.
     *
     * @param overwrite replace the model that the output folder holds; its other files stay
     */
    public static Result run(
            Path baseFolder,
            Path adapterFolder,
            Path output,
            boolean overwrite,
            boolean allowOtherBase) {
        ModelFolder target =
                ModelFolder.check(output, overwrite, List.of(baseFolder, adapterFolder));
        try (HuggingFaceFolder base = HuggingFaceFolder.open(baseFolder);
                PeftFolder adapter = PeftFolder.open(adapterFolder)) {
            MergeJob job = new MergeJob(base);
            job.plan(adapter);
            if (!allowOtherBase) {
                RunModel.requireSameBase(adapter, base);
            }
            // Known before anything is written.
            Optional<FrozenStorage.Form> form = adapter.base().storage().map(MergeJob::form);
            target.write(folder -> job.write(baseFolder, folder));
            Optional<Drift> drift = form.map(job::drift);
            long bytes = base.tensors().values().stream().mapToLong(t -> t.data().byteSize()).sum();
            return new Result(output, job.merged.size(), base.tensors().size(), bytes, drift);
        }
    }

    /** Finds every target in the checkpoint and checks the adapter, before anything is written. */
    private void plan(PeftFolder adapter) {
        ObjectNode config = base.config();
        Path file = HuggingFaceFolder.configFile(base.path());
        Model model = Models.create(file.toString(), config, DType.F32);
        model.weights().seal();
        Map<String, PeftFolder.Features> modules = RunModel.features(model);
        Map<String, LoraSpec> specs = adapter.check(modules);
        Map<String, SafetensorsEntry> entries = ModelLoader.match(model, base);
        Map<String, CheckpointTensor> tensors = new LinkedHashMap<>();
        model.weights().checkpoint().forEach(t -> tensors.put(t.name(), t));
        modules.keySet().stream()
                .map(module -> module + ".weight")
                .forEach(name -> linears.put(tensors.get(name), entries.get(name)));
        specs.forEach(
                (module, spec) -> {
                    String name = module + ".weight";
                    SafetensorsEntry entry = entries.get(name);
                    MergedWeight weight =
                            new MergedWeight(
                                    entry,
                                    adapter.modules().get(module),
                                    spec,
                                    tensors.get(name).transposed());
                    weight.requireFinite();
                    merged.put(entry.name(), weight);
                });
    }

    private static FrozenStorage.Form form(String storage) {
        return FrozenStorage.Form.of(storage)
                .orElseThrow(
                        () ->
                                JloraException.corrupt(
                                        "the adapter was trained over weights stored as '"
                                                + storage
                                                + "', which this version of jlora does not know;"
                                                + " merge with the version that wrote it."));
    }

    private Drift drift(FrozenStorage.Form form) {
        QuantizationError all = QuantizationError.NONE;
        double weight = 0;
        double update = 0;
        try (CpuBackend backend = new CpuBackend(CpuOptions.defaults())) {
            for (Map.Entry<CheckpointTensor, SafetensorsEntry> linear : linears.entrySet()) {
                CheckpointTensor tensor = linear.getKey();
                SafetensorsEntry entry = linear.getValue();
                QuantizationError error =
                        QuantizationError.of(
                                backend,
                                form,
                                tensor.name(),
                                tensor.rows(),
                                tensor.cols(),
                                DType.F32,
                                ModelLoader.rows(backend, tensor, entry));
                all = all.plus(error);
                MergedWeight target = merged.get(entry.name());
                if (target != null) {
                    weight += error.weight();
                    update += target.updateSquares();
                }
            }
        }
        double relative = weight == 0 ? 0 : Math.sqrt(update / weight);
        return new Drift(form.describe(), all.relative(), relative);
    }

    private void write(Path from, Path to) {
        Map<Path, SafetensorsWriter> files = new TreeMap<>();
        for (SafetensorsEntry entry : base.tensors().values()) {
            SafetensorsWriter writer =
                    files.computeIfAbsent(entry.file(), f -> new SafetensorsWriter());
            MergedWeight weight = merged.get(entry.name());
            if (weight == null) {
                writer.tensor(entry.name(), entry.type(), entry.shape(), entry.data());
            } else {
                writer.tensor(entry.name(), entry.type(), entry.shape(), weight::writeTo);
            }
        }
        files.forEach((file, writer) -> writer.write(to.resolve(file.getFileName())));
        ModelFolder.copyDescription(from, to);
    }
}
