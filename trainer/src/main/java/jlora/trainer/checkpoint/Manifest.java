package jlora.trainer.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.JloraException;
import jlora.runtime.io.AtomicFile;
import jlora.runtime.io.Fingerprint;
import jlora.runtime.io.Json;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * What a checkpoint consists of: {@code manifest.json} names every file with its bytes and SHA-256,
 * and holds the SHA-256 of these lines themselves, so that no changed bit of a checkpoint goes
 * unnoticed. It is written last.
 */
final class Manifest {
    static final String NAME = "manifest.json";
    private static final int FORMAT = 1;
    private static final int BLOCK = 1 << 20;

    /** One file as it was written. */
    record Entry(long bytes, String sha256) {}

    private Manifest() {}

    /** Describes all files of a folder that is about to become a checkpoint. */
    static void write(Path folder) throws IOException {
        SortedMap<String, Entry> entries = new TreeMap<>();
        try (var files = Files.list(folder)) {
            for (Path file : files.toList()) {
                entries.put(file.getFileName().toString(), entry(file));
            }
        }
        AtomicFile.write(folder.resolve(NAME), text(entries));
    }

    /**
     * Reads every byte of a checkpoint.
     *
     * @throws JloraException with exit code 3 that names the first file that is not as it was
     *     written
     */
    static void verify(Path folder) {
        Path file = folder.resolve(NAME);
        if (!Files.exists(file)) {
            throw damaged(folder, "has no " + NAME);
        }
        byte[] found;
        try {
            found = Files.readAllBytes(file);
        } catch (IOException e) {
            throw damaged(folder, NAME + " cannot be read (" + Json.reason(e) + ")");
        }
        SortedMap<String, Entry> entries;
        try {
            entries = parse(Json.parseObject(file.toString(), 1, found));
        } catch (JloraException | IllegalArgumentException _) {
            throw damaged(folder, NAME + " is not a manifest");
        }
        if (!Arrays.equals(found, text(entries))) {
            throw damaged(folder, NAME + " is not as it was written");
        }
        entries.forEach((name, entry) -> verify(folder, name, entry));
    }

    private static void verify(Path folder, String name, Entry expected) {
        Path file = folder.resolve(name);
        if (!Files.exists(file)) {
            throw damaged(folder, name + " is missing");
        }
        Entry found;
        try {
            found = entry(file);
        } catch (IOException e) {
            throw damaged(folder, name + " cannot be read (" + Json.reason(e) + ")");
        }
        if (found.bytes != expected.bytes) {
            throw damaged(
                    folder, name + " has " + found.bytes + " bytes instead of " + expected.bytes);
        }
        if (!found.sha256.equals(expected.sha256)) {
            throw damaged(folder, name + " is not as it was written (its SHA-256 differs)");
        }
    }

    private static JloraException damaged(Path folder, String cause) {
        return JloraException.corrupt(
                folder + ": the checkpoint is damaged: " + cause + "; use another one");
    }

    private static Entry entry(Path file) throws IOException {
        MessageDigest digest = Fingerprint.sha256();
        long bytes = 0;
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            ByteBuffer block = ByteBuffer.allocateDirect(BLOCK);
            while (channel.read(block) >= 0) {
                bytes += block.flip().remaining();
                digest.update(block);
                block.clear();
            }
        }
        return new Entry(bytes, HexFormat.of().formatHex(digest.digest()));
    }

    private static byte[] text(SortedMap<String, Entry> entries) {
        ObjectNode json = Json.object();
        json.put("format", FORMAT);
        ObjectNode files = json.putObject("files");
        entries.forEach(
                (name, entry) ->
                        files.putObject(name)
                                .put("bytes", entry.bytes)
                                .put("sha256", entry.sha256));
        byte[] own = Fingerprint.sha256().digest(Json.pretty(json));
        json.put("sha256", HexFormat.of().formatHex(own));
        return Json.pretty(json);
    }

    private static SortedMap<String, Entry> parse(ObjectNode json) {
        SortedMap<String, Entry> entries = new TreeMap<>();
        for (Map.Entry<String, JsonNode> file : json.path("files").properties()) {
            String name = file.getKey();
            if (name.contains("/") || name.startsWith(".")) {
                throw new IllegalArgumentException(name);
            }
            entries.put(
                    name,
                    new Entry(
                            file.getValue().path("bytes").longValue(),
                            file.getValue().path("sha256").asText()));
        }
        return entries;
    }
}
