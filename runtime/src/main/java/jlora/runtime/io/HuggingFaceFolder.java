package jlora.runtime.io;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.JloraException;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * A model folder in the layout of the Hugging Face hub: {@code config.json} and either {@code
 * model.safetensors} or the shards that {@code model.safetensors.index.json} names. Weights are
 * mapped, not read. Pickled weights are never opened.
 */
public final class HuggingFaceFolder implements AutoCloseable {
    private static final String CONFIG = "config.json";
    private static final String SINGLE = "model.safetensors";
    private static final String INDEX = "model.safetensors.index.json";
    private static final List<String> OTHER_FORMATS =
            List.of(".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".gguf");

    private final Path folder;
    private final ObjectNode config;
    private final List<SafetensorsFile> files;
    private final SortedMap<String, SafetensorsEntry> tensors;

    private HuggingFaceFolder(
            Path folder,
            ObjectNode config,
            List<SafetensorsFile> files,
            SortedMap<String, SafetensorsEntry> tensors) {
        this.folder = folder;
        this.config = config;
        this.files = files;
        this.tensors = Collections.unmodifiableSortedMap(tensors);
    }

    /**
     * Opens a folder, its configuration and all of its weight files; what is wrong with them is
     * exit code 3.
     */
    public static HuggingFaceFolder open(Path folder) {
        ObjectNode config = readConfig(folder);
        List<SafetensorsFile> files = new ArrayList<>();
        SortedMap<String, SafetensorsEntry> tensors = new TreeMap<>();
        try {
            if (Files.exists(folder.resolve(SINGLE))) {
                files.add(SafetensorsFile.open(folder.resolve(SINGLE)));
                tensors.putAll(files.getFirst().entries());
            } else if (Files.exists(folder.resolve(INDEX))) {
                openShards(folder, files, tensors);
            } else {
                throw noWeights(folder);
            }
            return new HuggingFaceFolder(folder, config, List.copyOf(files), tensors);
        } catch (RuntimeException | Error e) {
            files.forEach(SafetensorsFile::close);
            throw e;
        }
    }

    /**
     * The configuration of a model from its folder or from a config.json itself; weights need not
     * be there.
     */
    public static ObjectNode readConfig(Path folderOrFile) {
        return Json.readObject(configFile(folderOrFile));
    }

    /** The file that {@link #readConfig} reads. */
    public static Path configFile(Path folderOrFile) {
        if (!Files.exists(folderOrFile)) {
            throw JloraException.usage(
                    folderOrFile + ": there is no such model folder; check the path");
        }
        if (!Files.isDirectory(folderOrFile)) {
            return folderOrFile;
        }
        Path file = folderOrFile.resolve(CONFIG);
        if (!Files.exists(file)) {
            throw JloraException.corrupt(
                    folderOrFile
                            + ": the folder has no "
                            + CONFIG
                            + "; name the folder of a Hugging Face model");
        }
        return file;
    }

    private static void openShards(
            Path folder, List<SafetensorsFile> files, SortedMap<String, SafetensorsEntry> tensors) {
        Path index = folder.resolve(INDEX);
        if (!(Json.readObject(index).get("weight_map") instanceof ObjectNode weightMap)) {
            throw JloraException.corrupt(
                    index + ": has no object 'weight_map'; download the index again");
        }
        Map<String, SafetensorsFile> shards = new TreeMap<>();
        for (Map.Entry<String, JsonNode> mapped : weightMap.properties()) {
            String name = mapped.getKey();
            String shard = shardName(index, name, mapped.getValue());
            SafetensorsFile file = shards.get(shard);
            if (file == null) {
                file = openShard(folder, index, shard);
                files.add(file);
                shards.put(shard, file);
            }
            if (!file.entries().containsKey(name)) {
                throw JloraException.corrupt(
                        index
                                + ": maps "
                                + Json.quote(name)
                                + " to "
                                + shard
                                + ", which has no such tensor; download index and shards again");
            }
        }
        for (SafetensorsFile file : files) {
            for (SafetensorsEntry entry : file.entries().values()) {
                SafetensorsEntry twin = tensors.putIfAbsent(entry.name(), entry);
                if (twin != null) {
                    throw JloraException.corrupt(
                            folder
                                    + ": tensor "
                                    + Json.quote(entry.name())
                                    + " is both in "
                                    + twin.file().getFileName()
                                    + " and in "
                                    + entry.file().getFileName()
                                    + "; download the shards again");
                }
            }
        }
    }

    private static String shardName(Path index, String tensor, JsonNode value) {
        if (!value.isTextual()) {
            throw JloraException.corrupt(
                    index
                            + ": weight_map has "
                            + Json.kind(value)
                            + " for "
                            + Json.quote(tensor)
                            + " where a file name is expected; download the index again");
        }
        String name = value.textValue();
        boolean plain =
                name.endsWith(".safetensors")
                        && name.chars()
                                .noneMatch(
                                        c ->
                                                c == '/'
                                                        || c == '\\'
                                                        || c == ':'
                                                        || Character.isISOControl(c))
                        && !name.contains("..");
        if (!plain) {
            throw JloraException.corrupt(
                    index
                            + ": maps "
                            + Json.quote(tensor)
                            + " to "
                            + Json.quote(name)
                            + ", which is not the name of a .safetensors file in this folder;"
                            + " do not use this model unless you trust its source");
        }
        return name;
    }

    private static SafetensorsFile openShard(Path folder, Path index, String shard) {
        Path file = folder.resolve(shard);
        if (!Files.exists(file)) {
            throw JloraException.corrupt(
                    index
                            + ": names the shard "
                            + shard
                            + ", which is not in the folder; download it");
        }
        return SafetensorsFile.open(file);
    }

    private static JloraException noWeights(Path folder) {
        try (Stream<Path> listing = Files.list(folder)) {
            List<String> others =
                    listing.map(file -> file.getFileName().toString())
                            .filter(
                                    name ->
                                            OTHER_FORMATS.stream()
                                                    .anyMatch(
                                                            name.toLowerCase(Locale.ROOT)
                                                                    ::endsWith))
                            .sorted()
                            .toList();
            if (!others.isEmpty()) {
                return JloraException.corrupt(
                        folder
                                + ": has its weights only as "
                                + others.getFirst()
                                + ", which jlora does not open (pickle can run code); convert them"
                                + " with Transformers' save_pretrained(safe_serialization=True)");
            }
        } catch (IOException e) {
            return JloraException.corrupt(
                    folder + ": cannot be listed (" + Json.reason(e) + "); check its permissions");
        }
        return JloraException.corrupt(
                folder
                        + ": has neither "
                        + SINGLE
                        + " nor "
                        + INDEX
                        + "; download the weights, or start from random ones");
    }

    public Path path() {
        return folder;
    }

    /** The whole config.json. */
    public ObjectNode config() {
        return config;
    }

    /** The names of all tensors, sorted. */
    public List<String> names() {
        return List.copyOf(tensors.keySet());
    }

    /** All tensors by name, sorted. */
    public SortedMap<String, SafetensorsEntry> tensors() {
        return tensors;
    }

    public boolean has(String name) {
        return tensors.containsKey(name);
    }

    /** The tensor of that name; a folder without it is exit code 3. */
    public SafetensorsEntry tensor(String name) {
        SafetensorsEntry entry = tensors.get(name);
        if (entry == null) {
            throw JloraException.corrupt(
                    folder
                            + ": its weights have no tensor "
                            + Json.quote(name)
                            + "; check that they belong to its config.json");
        }
        return entry;
    }

    /** Recognises this base model again; see {@link Fingerprint}. */
    public String fingerprint() {
        return Fingerprint.of(tensors);
    }

    /** Unmaps all weight files. */
    @Override
    public void close() {
        files.forEach(SafetensorsFile::close);
    }
}
