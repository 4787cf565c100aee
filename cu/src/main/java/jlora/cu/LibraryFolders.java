package jlora.cu;

import java.io.File;
import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * Where NVIDIA's libraries may lie.
 *
 * @param named folders that somebody named; they come first
 * @param system whether the system's loader and the usual folders are asked as well
 * @param usual the toolkit's folders, then pip's
 */
record LibraryFolders(List<Path> named, boolean system, List<Path> usual) {
    LibraryFolders {
        named = List.copyOf(named);
        usual = List.copyOf(usual);
    }

    static LibraryFolders only(Path folder) {
        return new LibraryFolders(List.of(folder), false, List.of());
    }

    static LibraryFolders of(Map<String, String> environment) {
        List<Path> named = new ArrayList<>();
        for (String variable : List.of("JLORA_LIBRARY_PATH", "LD_LIBRARY_PATH")) {
            for (Path folder : paths(environment, variable)) {
                named.add(folder);
                named.addAll(pip(folder));
            }
        }
        List<Path> usual = new ArrayList<>();
        for (String variable : List.of("CUDA_HOME", "CUDA_PATH")) {
            paths(environment, variable).forEach(home -> usual.add(home.resolve("lib64")));
        }
        usual.add(Path.of("/usr/local/cuda/lib64"));
        children(Path.of("/usr/local"), "cuda-*").forEach(home -> usual.add(home.resolve("lib64")));
        usual.add(Path.of("/opt/cuda/lib64"));
        // Where container runtimes and WSL put the driver's own libraries.
        usual.add(Path.of("/usr/local/nvidia/lib64"));
        usual.add(Path.of("/usr/lib/wsl/lib"));
        for (Path prefix : pythonPrefixes(environment)) {
            for (Path version : children(prefix.resolve("lib"), "python3*")) {
                usual.addAll(pip(version.resolve("site-packages")));
                usual.addAll(pip(version.resolve("dist-packages")));
            }
        }
        return new LibraryFolders(named, true, usual);
    }

    /** The environments that a {@code python3} of this user would use. */
    private static List<Path> pythonPrefixes(Map<String, String> environment) {
        List<Path> prefixes = new ArrayList<>();
        prefixes.addAll(paths(environment, "VIRTUAL_ENV"));
        prefixes.addAll(paths(environment, "CONDA_PREFIX"));
        for (Path folder : paths(environment, "PATH")) {
            if (Files.exists(folder.resolve("python3")) && folder.getParent() != null) {
                prefixes.add(folder.getParent());
            }
        }
        paths(environment, "HOME").forEach(home -> prefixes.add(home.resolve(".local")));
        return prefixes;
    }

    /** {@code nvidia/}*{@code /lib} of a folder of Python packages. */
    private static List<Path> pip(Path packages) {
        return children(packages.resolve("nvidia"), "*").stream()
                .map(folder -> folder.resolve("lib"))
                .filter(Files::isDirectory)
                .toList();
    }

    private static List<Path> paths(Map<String, String> environment, String variable) {
        return Stream.of(environment.getOrDefault(variable, "").split(File.pathSeparator))
                .filter(path -> !path.isBlank())
                .map(Path::of)
                .toList();
    }

    /** The latest version first, where names are versions. */
    private static List<Path> children(Path folder, String pattern) {
        List<Path> found = new ArrayList<>();
        if (!Files.isDirectory(folder)) {
            return found;
        }
        try (DirectoryStream<Path> stream = Files.newDirectoryStream(folder, pattern)) {
            stream.forEach(found::add);
        } catch (IOException | DirectoryIteratorException e) {
            // A folder that cannot be read has nothing for us.
            return found;
        }
        found.sort(Comparator.reverseOrder());
        return found;
    }
}
