package jlora.trainer.job;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.JloraException;
import jlora.runtime.Resources;
import jlora.runtime.StopRequest;
import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.adapter.lora.LoraConfig;
import jlora.runtime.adapter.lora.LoraSpec;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Collective;
import jlora.runtime.io.Fingerprint;
import jlora.runtime.io.HuggingFaceFolder;
import jlora.runtime.io.Json;
import jlora.runtime.io.ModelLoader;
import jlora.runtime.io.PeftFolder;
import jlora.runtime.model.Model;
import jlora.runtime.model.Models;
import jlora.runtime.nn.Linear;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.FrozenStorage;
import jlora.runtime.weight.RandomInit;
import jlora.runtime.weight.Sharding;
import jlora.trainer.config.AdapterSettings;
import jlora.trainer.config.RunConfig;
import jlora.trainer.config.TrainingMethod;
import jlora.trainer.loop.AdapterValues;
import jlora.trainer.loop.Blueprint;
import jlora.trainer.loop.Session;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * The model of a run as its configuration asks for it: architecture, type, adapters. Made from
 * config.json and, where there is one, a saved adapter's configuration; weights are read by {@link
 * #open} alone.
 */
public final class RunModel {
    private static final String ADAPTER = "default";
    private static final Set<String> MODULE_KEYS =
            Set.of(
                    "lora_target_modules",
                    "lora_exclude_modules",
                    "lora_layers_to_transform",
                    "lora_layers_pattern");

    /** All keys about adapters: a saved adapter that is only used answers them itself. */
    private static final Set<String> LORA_KEYS =
            Set.copyOf(RunConfig.keyNames(AdapterSettings.class));

    private final RunConfig config;
    private final Path folder;
    private final Blueprint blueprint;
    private final Optional<LoraConfig> lora;
    private String baseFingerprint;

    private RunModel(
            RunConfig config, Path folder, Blueprint blueprint, Optional<LoraConfig> lora) {
        this.config = config;
        this.folder = folder;
        this.blueprint = blueprint;
        this.lora = lora;
    }

    /**
     * The model for training: with a new or a continued adapter, or with all its weights trained.
     */
    public static RunModel forTraining(RunConfig config, DType dtype) {
        return forTraining(config, dtype, Optional.empty());
    }

    /**
     * @param sharding how ranks share the frozen weights
     */
    public static RunModel forTraining(RunConfig config, DType dtype, Optional<Sharding> sharding) {
        return of(config, dtype, true, sharding);
    }

    /**
     * What a plan for one of some workers needs to know of {@code shard_base}; empty when it holds
     * the whole base, as one worker does.
     */
    static Optional<Sharding> sharding(RunConfig config, int workers) {
        return config.job().shardBase() && workers > 1
                ? Optional.of(new Sharding(0, workers))
                : Optional.empty();
    }

    /** The model for inference: with the saved adapter, where one is named. */
    public static RunModel forInference(RunConfig config, DType dtype) {
        return of(config, dtype, false, Optional.empty());
    }

    /** The type that a run computes in on this kind of device. */
    public static DType dtype(RunConfig config, boolean gpu) {
        return switch (config.model().dtype()) {
            case AUTO -> gpu ? DType.BF16 : DType.F32;
            case FLOAT32 -> DType.F32;
            case BFLOAT16 -> DType.BF16;
        };
    }

    /** The same for a worker that is joined to the others. */
    static Optional<Sharding> sharding(RunConfig config, Collective joined) {
        if (!config.job().shardBase()) {
            return Optional.empty();
        }
        Sharding sharding = new Sharding(joined.rank(), joined.ranks());
        sharding.join(joined);
        return Optional.of(sharding);
    }

    private static RunModel of(
            RunConfig config, DType dtype, boolean training, Optional<Sharding> sharding) {
        Path folder = config.model().modelNameOrPath().orElseThrow();
        Path file = HuggingFaceFolder.configFile(folder);
        ObjectNode json = HuggingFaceFolder.readConfig(folder);
        Model model = Models.create(file.toString(), json, dtype);
        sharding.ifPresent(model.weights()::shard);
        model.weights().store(config.base().storage());
        Optional<Path> saved = config.model().adapterNameOrPath();
        if (training && config.train().method() == TrainingMethod.FULL) {
            return new RunModel(config, folder, Blueprint.full(model), Optional.empty());
        }
        if (!training && saved.isEmpty()) {
            return new RunModel(config, folder, Blueprint.base(model), Optional.empty());
        }
        Map<String, PeftFolder.Features> linears = features(model);
        LoraConfig lora;
        Map<String, LoraSpec> specs;
        RunConfig resolved = config;
        if (saved.isPresent()) {
            try (PeftFolder peft = PeftFolder.open(saved.get())) {
                specs = peft.check(linears);
                lora = peft.config();
                if (!config.model().randomInit() && !config.model().allowOtherBase()) {
                    requireSameBase(peft, folder);
                }
            }
            resolved =
                    config.withSavedAdapter(
                            LoraSettings.settings(lora, config.adapter()),
                            saved.get(),
                            training ? settled(config, model, linears, specs) : LORA_KEYS);
        } else {
            lora =
                    LoraSettings.config(
                            config.adapter(), model.config().modelType(), folder.toString());
            specs = lora.selectEach(linears.keySet());
        }
        Map<String, Map<String, LoraSpec>> adapters = new LinkedHashMap<>();
        adapters.put(ADAPTER, specs);
        return new RunModel(
                resolved, folder, Blueprint.seal(model, adapters, training), Optional.of(lora));
    }

    /**
     * Refuses an adapter that was trained on other weights, as far as it says on which; shapes
     * alone do not tell two models of one family apart.
     */
    static void requireSameBase(PeftFolder adapter, Path folder) {
        try (HuggingFaceFolder base = HuggingFaceFolder.open(folder)) {
            requireSameBase(adapter, base);
        }
    }

    static void requireSameBase(PeftFolder adapter, HuggingFaceFolder base) {
        if (adapter.base().fingerprint().filter(f -> !f.equals(base.fingerprint())).isPresent()) {
            throw JloraException.corrupt(
                    adapter.path()
                            + ": the adapter was trained on other weights than those in "
                            + base.path()
                            + " (their fingerprints differ); correct model_name_or_path, or set"
                            + " allow_other_base if it is the same model saved in another way");
        }
    }

    /**
     * Keys that need not be spelled as a saved adapter spells them: how a new adapter starts, and
     * the choice of modules where it comes to the same ones (PEFT writes all-linear as a list).
     */
    private static Set<String> settled(
            RunConfig config,
            Model model,
            Map<String, PeftFolder.Features> linears,
            Map<String, LoraSpec> saved) {
        LoraConfig given = LoraSettings.config(config.adapter(), model.config().modelType(), "");
        Set<String> keys = new HashSet<>(Set.of("init_lora_weights"));
        if (given.select(linears.keySet()).keySet().equals(saved.keySet())) {
            keys.addAll(MODULE_KEYS);
        }
        return keys;
    }

    static Map<String, PeftFolder.Features> features(Model model) {
        Map<String, PeftFolder.Features> features = new LinkedHashMap<>();
        for (Linear linear : model.linears()) {
            for (Linear.Part part : linear.parts()) {
                features.put(
                        part.module(), new PeftFolder.Features(linear.weight().cols(), part.out()));
            }
        }
        return features;
    }

    /** The configuration with a saved adapter's settings filled in. */
    public RunConfig config() {
        return config;
    }

    public Blueprint blueprint() {
        return blueprint;
    }

    public Model model() {
        return blueprint.model();
    }

    /** What the user should know of the model, one sentence each. */
    public List<String> notes() {
        List<String> notes = new ArrayList<>(model().notices());
        if (config.job().shardBase() && model().weights().sharding().isEmpty()) {
            notes.add("shard_base has no effect here: one process holds the whole base.");
        }
        return notes;
    }

    /** What the adapter is, for writing it; empty without one. */
    public Optional<LoraConfig> lora() {
        return lora;
    }

    /** Folder of the base model. */
    public Path folder() {
        return folder;
    }

    /** Tells this base model from others, for checkpoints. */
    String fingerprint() {
        Path file = Files.isDirectory(folder) ? folder.resolve("config.json") : folder;
        MessageDigest digest = Fingerprint.sha256();
        try {
            digest.update(Files.readAllBytes(file));
        } catch (IOException e) {
            throw JloraException.corrupt(file + ": cannot be read (" + Json.reason(e) + ")");
        }
        return HexFormat.of().formatHex(digest.digest(), 0, 8)
                + baseFingerprint().map(print -> " " + print).orElse(" random");
    }

    /**
     * By which an adapter knows its base model again; empty with random weights. The files are read
     * once, not for every checkpoint.
     */
    synchronized Optional<String> baseFingerprint() {
        if (config.model().randomInit()) {
            return Optional.empty();
        }
        if (baseFingerprint == null) {
            try (HuggingFaceFolder base = HuggingFaceFolder.open(folder)) {
                baseFingerprint = base.fingerprint();
            }
        }
        return Optional.of(baseFingerprint);
    }

    /** What an adapter of this run remembers of its base. */
    PeftFolder.Base base() {
        String form = model().weights().storage().form().describe();
        return new PeftFolder.Base(
                baseFingerprint(), Optional.of(form).filter(words -> !words.isEmpty()));
    }

    /** Tells the saved adapter that a run goes on from; empty without one. */
    Optional<String> adapterFingerprint() {
        return config.model()
                .adapterNameOrPath()
                .map(
                        saved -> {
                            try (PeftFolder peft = PeftFolder.open(saved)) {
                                return SavedAdapter.values(peft).fingerprint();
                            }
                        });
    }

    /** All modules that adapters may target. */
    public List<String> linearModules() {
        return List.copyOf(features(model()).keySet());
    }

    /**
     * Allocates the model on a backend and fills it: weights, adapter, masters.
     *
     * @param loss where the session's plans leave their loss
     */
    public Session open(Backend backend, Tensor loss) {
        return open(backend, loss, new StopRequest());
    }

    /**
     * The same.
     *
     * @param stop polled while weights are read or drawn
     */
    Session open(Backend backend, Tensor loss, StopRequest stop) {
        Runnable poll = () -> stop.check("the model was loaded");
        OffloadPlan.requireGpu(config, backend.asynchronous());
        if (model().weights().storage().form() instanceof FrozenStorage.Form.Fp8 form) {
            backend.kernels().fp8().requireProducts(form.scaling());
        }
        Session session = new Session(backend, blueprint, loss);
        try {
            if (config.model().randomInit()) {
                RandomInit.fill(
                        backend,
                        model().weights(),
                        model().config().initializerRange(),
                        config.train().seed(),
                        poll);
            } else {
                try (HuggingFaceFolder checkpoint = HuggingFaceFolder.open(folder)) {
                    ModelLoader.load(backend, model(), checkpoint, poll);
                }
            }
            if (blueprint.adapters().isEmpty()) {
                session.masterWeights();
            }
            for (LoraAdapter adapter : blueprint.adapters()) {
                session.setAdapter(adapter, adapterValues(adapter));
            }
            return session;
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, session);
            throw e;
        }
    }

    private AdapterValues adapterValues(LoraAdapter adapter) {
        if (config.model().adapterNameOrPath().isPresent()) {
            try (PeftFolder peft = PeftFolder.open(config.model().adapterNameOrPath().get())) {
                return SavedAdapter.values(peft);
            }
        }
        return SavedAdapter.initial(
                adapter, lora.orElseThrow().initLoraWeights(), config.train().seed());
    }
}
