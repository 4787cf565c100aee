package jlora.trainer.job;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.AtomicFile;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.UUID;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A Hugging Face model folder that is written: under another name first, so that it appears whole
 * or not at all.
 */
final class ModelFolder {
    private static final Pattern WEIGHTS =
            Pattern.compile("model(-\\d+-of-\\d+)?\\.safetensors(\\.index\\.json)?");

    /** What describes a model beside its weights: configuration, tokenizer, licence. */
    private static final Pattern DESCRIPTION =
            Pattern.compile(
                    "config\\.json|generation_config\\.json|model\\.safetensors\\.index\\.json|tokenizer.*"
                        + "|vocab\\..*|merges\\.txt|special_tokens_map\\.json|added_tokens\\.json"
                        + "|chat_template.*|preprocessor_config\\.json|LICEN[CS]E.*|NOTICE.*|USE_POLICY.*");

    private final Path path;

    private ModelFolder(Path path) {
        this.path = path;
    }

    /**
     * Checks, and changes nothing: the folder can be written, is empty or may be overwritten, and
     * is none of the sources.
     */
    static ModelFolder check(Path given, boolean overwrite, List<Path> sources) {
        // One spelling for every check and every write: what is compared is what is replaced.
        Path path = given.toAbsolutePath().normalize();
        try {
            for (Path source : sources) {
                if (Files.exists(path) && Files.exists(source) && Files.isSameFile(path, source)) {
                    throw JloraException.usage(
                            "output_dir "
                                    + path
                                    + " is a folder that is read from; choose another folder.");
                }
            }
            if (!overwrite && Files.isDirectory(path)) {
                try (Stream<Path> files = Files.list(path)) {
                    if (files.findAny().isPresent()) {
                        throw JloraException.usage(
                                "output_dir "
                                        + path
                                        + " is not empty; choose another folder, or pass"
                                        + " --overwrite to replace the model in it.");
                    }
                }
            }
        } catch (IOException e) {
            throw failed(path, e);
        }
        OutputFolder.requireWritable(path);
        return new ModelFolder(path);
    }

    private static JloraException failed(Path path, IOException e) {
        return new JloraException(
                ExitCode.CHECKPOINT_IO,
                "output_dir "
                        + path
                        + " could not be written ("
                        + e.getMessage()
                        + "); check its permissions and the space left on the disk.",
                e);
    }

    /**
     * Lets {@code body} fill a new folder, then gives it its name; when it fails nothing is left.
     */
    void write(Consumer<Path> body) {
        Path temporary =
                path.resolveSibling("." + path.getFileName() + "." + UUID.randomUUID() + ".tmp");
        try {
            Files.createDirectories(path.getParent());
            Files.createDirectory(temporary);
            body.accept(temporary);
            moveIntoPlace(temporary);
        } catch (IOException e) {
            discard(temporary, e);
            throw failed(path, e);
        } catch (RuntimeException | Error e) {
            discard(temporary, e);
            throw e;
        }
    }

    private void moveIntoPlace(Path temporary) throws IOException {
        if (!Files.exists(path) || isEmpty(path)) {
            Files.move(temporary, path, StandardCopyOption.ATOMIC_MOVE);
            return;
        }
        // Weights of the model that is replaced would be read beside the new ones.
        for (Path old : list(path)) {
            boolean weights = WEIGHTS.matcher(old.getFileName().toString()).matches();
            if (weights && !Files.exists(temporary.resolve(old.getFileName()))) {
                Files.delete(old);
            }
        }
        for (Path file : list(temporary)) {
            Files.move(
                    file,
                    path.resolve(file.getFileName()),
                    StandardCopyOption.ATOMIC_MOVE,
                    StandardCopyOption.REPLACE_EXISTING);
        }
        Files.delete(temporary);
    }

    private static boolean isEmpty(Path folder) throws IOException {
        return list(folder).isEmpty();
    }

    private static List<Path> list(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.sorted().toList();
        }
    }

    private static void discard(Path temporary, Throwable because) {
        try {
            if (Files.exists(temporary)) {
                for (Path file : list(temporary)) {
                    Files.delete(file);
                }
                Files.delete(temporary);
            }
        } catch (IOException e) {
            because.addSuppressed(e);
        }
    }

    /** Copies configuration, shard index, tokenizer and licence. */
    static void copyDescription(Path from, Path to) {
        try {
            for (Path file : list(from)) {
                String name = file.getFileName().toString();
                if (Files.isRegularFile(file) && DESCRIPTION.matcher(name).matches()) {
                    AtomicFile.write(to.resolve(name), Files.readAllBytes(file));
                }
            }
        } catch (IOException e) {
            throw new JloraException(
                    ExitCode.CORRUPT_INPUT,
                    from + ": could not be read (" + e.getMessage() + "); check its permissions.",
                    e);
        }
    }
}
