package jlora.runtime.io;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.adapter.lora.LoraConfig;
import jlora.runtime.adapter.lora.LoraSpec;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * A LoRA adapter in the layout of PEFT 0.21: {@code adapter_config.json} and {@code
 * adapter_model.safetensors}. Tensors are mapped, not read; pickled adapters are never opened.
 */
public final class PeftFolder implements AutoCloseable {
    private static final String CONFIG = "adapter_config.json";

    /** The file of the tensors in an adapter folder. */
    public static final String WEIGHTS = "adapter_model.safetensors";

    private static final String PICKLE = "adapter_model.bin";
    private static final String PREFIX = "base_model.model.";
    private static final String A = ".lora_A.weight";
    private static final String B = ".lora_B.weight";
    private static final String FINGERPRINT = "jlora.base_fingerprint";
    private static final String STORAGE = "jlora.base_storage";
    private static final String OTHER_BASE = "; was this adapter trained for another base model?";

    /** The tensors of one module in a file: A [r,in], B [out,r]. */
    public record Stored(String module, SafetensorsEntry a, SafetensorsEntry b) {}

    /** The tensors of one module in host memory, f32: A [r,in], B [out,r], B without the scale. */
    public record Trained(String module, Tensor a, Tensor b) {
        public Trained {
            if (a.dtype() != DType.F32 || b.dtype() != DType.F32 || a.rows() != b.cols()) {
                throw new IllegalArgumentException(module + ": " + a + " and " + b);
            }
        }
    }

    /**
     * The base model that an adapter was trained over, as far as jlora wrote it down.
     *
     * @param fingerprint its {@link Fingerprint}; empty for random weights
     * @param storage what the matrices of its layers were stored as, in the words of {@link
     *     jlora.runtime.weight.FrozenStorage.Form#describe}; empty for weights as they were
     */
    public record Base(Optional<String> fingerprint, Optional<String> storage) {
        /** Nothing is known. */
        public static final Base UNKNOWN = new Base(Optional.empty(), Optional.empty());
    }

    /** The input and output features of a linear layer. */
    public record Features(long in, long out) {}

    private final Path folder;
    private final LoraConfig config;
    private final SafetensorsFile weights;
    private final SortedMap<String, Stored> modules;

    private PeftFolder(
            Path folder,
            LoraConfig config,
            SafetensorsFile weights,
            SortedMap<String, Stored> modules) {
        this.folder = folder;
        this.config = config;
        this.weights = weights;
        this.modules = Collections.unmodifiableSortedMap(modules);
    }

    /** Opens an adapter folder; malformed files are exit code 3, unsupported settings 2. */
    public static PeftFolder open(Path folder) {
        if (!Files.isDirectory(folder)) {
            throw JloraException.usage(
                    folder + ": there is no such adapter folder; check adapter_name_or_path");
        }
        Path configFile = folder.resolve(CONFIG);
        if (!Files.exists(configFile)) {
            throw JloraException.corrupt(
                    folder + ": has no " + CONFIG + "; name a folder that PEFT or jlora saved");
        }
        LoraConfig config = PeftConfigJson.read(configFile.toString(), Json.readObject(configFile));
        Path weightsFile = folder.resolve(WEIGHTS);
        if (!Files.exists(weightsFile)) {
            throw JloraException.corrupt(
                    Files.exists(folder.resolve(PICKLE))
                            ? folder.resolve(PICKLE)
                                    + ": is a pickle, which can run code and is never read; save"
                                    + " the adapter with PEFT's"
                                    + " save_pretrained(safe_serialization=True)"
                            : folder + ": has no " + WEIGHTS + "; copy the whole adapter folder");
        }
        SafetensorsFile weights = SafetensorsFile.open(weightsFile);
        try {
            return new PeftFolder(folder, config, weights, pair(weights));
        } catch (RuntimeException | Error e) {
            weights.close();
            throw e;
        }
    }

    private static SortedMap<String, Stored> pair(SafetensorsFile weights) {
        SortedMap<String, Stored> modules = new TreeMap<>();
        for (SafetensorsEntry entry : weights.entries().values()) {
            String name = entry.name();
            String ending = name.endsWith(A) ? A : B;
            if (!name.startsWith(PREFIX)
                    || !name.endsWith(ending)
                    || name.length() <= PREFIX.length() + ending.length()) {
                throw JloraException.corrupt(
                        weights.path()
                                + ": the tensor "
                                + Json.quote(name)
                                + " is not the lora_A or lora_B of a linear module, which is all"
                                + " that jlora reads; export the adapter without it");
            }
            if (ending.equals(B)) {
                continue;
            }
            String module = name.substring(PREFIX.length(), name.length() - A.length());
            SafetensorsEntry b = weights.entries().get(PREFIX + module + B);
            if (b == null) {
                throw lacks(weights, module, "lora_B");
            }
            if (entry.rank() != 2 || b.rank() != 2 || entry.rows() != b.cols()) {
                throw JloraException.corrupt(
                        weights.path()
                                + ": the tensors "
                                + entry.describe()
                                + " and "
                                + b.describe()
                                + " are not [r, in] and [out, r]; save the adapter again");
            }
            modules.put(module, new Stored(module, entry, b));
        }
        for (String name : weights.entries().keySet()) {
            String module = name.substring(PREFIX.length(), name.length() - B.length());
            if (name.endsWith(B) && !modules.containsKey(module)) {
                throw lacks(weights, module, "lora_A");
            }
        }
        return modules;
    }

    private static JloraException lacks(SafetensorsFile weights, String module, String part) {
        return JloraException.corrupt(
                weights.path()
                        + ": lacks the "
                        + part
                        + " of "
                        + Json.quote(module)
                        + "; save the adapter again");
    }

    /** The name in {@link #WEIGHTS} of a parameter such as {@code MODULE.lora_A}. */
    public static String tensorName(String parameter) {
        return PREFIX + parameter + ".weight";
    }

    public Path path() {
        return folder;
    }

    public LoraConfig config() {
        return config;
    }

    /** The stored tensors by module path. */
    public SortedMap<String, Stored> modules() {
        return modules;
    }

    /** The base model, if jlora wrote the adapter. */
    public Base base() {
        return new Base(
                Optional.ofNullable(weights.metadata().get(FINGERPRINT)),
                Optional.ofNullable(weights.metadata().get(STORAGE)));
    }

    /**
     * Compares the adapter with a model: the modules that its configuration selects must be the
     * ones that are stored, in the right shapes. Anything else is exit code 3 and names the tensor.
     *
     * @param linears all linear layers of the model but its output head, in order
     * @return the modules with an adapter, in the same order
     */
    public SequencedMap<String, LoraSpec> check(Map<String, Features> linears) {
        SequencedMap<String, LoraSpec> selected;
        try {
            selected = config.select(linears.keySet());
        } catch (JloraException e) {
            throw JloraException.corrupt(
                    folder.resolve(CONFIG) + ": " + e.getMessage() + OTHER_BASE);
        }
        selected.forEach(
                (module, spec) -> {
                    Stored stored = modules.get(module);
                    if (stored == null) {
                        throw mismatch(
                                "the tensor " + Json.quote(PREFIX + module + A) + " is missing");
                    }
                    Features features = linears.get(module);
                    checkShape(stored.a, spec.rank(), features.in);
                    checkShape(stored.b, features.out, spec.rank());
                });
        for (String module : modules.keySet()) {
            if (!selected.containsKey(module)) {
                throw mismatch(
                        "the tensor "
                                + Json.quote(PREFIX + module + A)
                                + (linears.containsKey(module)
                                        ? " belongs to a module that " + CONFIG + " does not target"
                                        : " belongs to a module that the model does not have"));
            }
        }
        return selected;
    }

    private void checkShape(SafetensorsEntry entry, long rows, long cols) {
        if (entry.rows() != rows || entry.cols() != cols) {
            throw mismatch(
                    "the tensor " + entry.describe() + " should be [" + rows + ", " + cols + "]");
        }
    }

    private JloraException mismatch(String cause) {
        return JloraException.corrupt(weights.path() + ": " + cause + OTHER_BASE);
    }

    /** Unmaps the tensors. */
    @Override
    public void close() {
        weights.close();
    }

    /**
     * Writes an adapter folder; each file appears whole or not at all. Failing to is exit code 8.
     *
     * @param config what the adapter was trained with; {@code all-linear} is written as the names
     *     that it stood for, so that readers need not know the model
     * @param trained the tensors of all selected modules
     * @param linearModules all linear layers of the model but its output head
     * @param base recognises the base model when the adapter is read again
     */
    public static void write(
            Path folder,
            LoraConfig config,
            List<Trained> trained,
            Collection<String> linearModules,
            Base base) {
        LoraConfig written = PeftSpelling.of(config, linearModules);
        SafetensorsWriter writer = new SafetensorsWriter();
        base.fingerprint.ifPresent(print -> writer.metadata(FINGERPRINT, print));
        base.storage.ifPresent(words -> writer.metadata(STORAGE, words));
        Map<String, LoraSpec> open = new LinkedHashMap<>(config.select(linearModules));
        for (Trained module : trained) {
            LoraSpec spec = open.remove(module.module);
            if (spec == null || spec.rank() != module.a.rows()) {
                throw new IllegalArgumentException(
                        module.module + " is not a target of rank " + module.a.rows());
            }
            add(writer, PREFIX + module.module + A, module.a);
            add(writer, PREFIX + module.module + B, module.b);
        }
        if (!open.isEmpty()) {
            throw new IllegalArgumentException("no tensors for " + open.keySet());
        }
        try {
            Files.createDirectories(folder);
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.CHECKPOINT_IO,
                    folder
                            + ": the folder could not be made ("
                            + Json.reason(e)
                            + "); choose another output_dir or correct its permissions",
                    e);
        }
        writer.write(folder.resolve(WEIGHTS));
        AtomicFile.write(folder.resolve(CONFIG), Json.pretty(PeftConfigJson.write(written)));
    }

    private static void add(SafetensorsWriter writer, String name, Tensor tensor) {
        writer.tensor(
                name,
                SafetensorsType.F32,
                new long[] {tensor.rows(), tensor.cols()},
                sink -> {
                    MemorySegment segment = tensor.segment();
                    if (tensor.isDense()) {
                        sink.write(segment.asSlice(tensor.byteOffset(0), tensor.elements() * 4));
                        return;
                    }
                    for (long row = 0; row < tensor.rows(); row++) {
                        sink.write(segment.asSlice(tensor.byteOffset(row), tensor.cols() * 4));
                    }
                });
    }
}
