package jlora.runtime.arch;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The project's source folders, found from wherever the tests run. */
record SourceTree(Path root) {
    private static final Pattern MODULE = Pattern.compile("<module>([^<]+)</module>");

    SourceTree {
        Objects.requireNonNull(root);
    }

    /** Walks up from the working folder to the one whose pom lists the modules. */
    static SourceTree find() {
        Path start = Path.of("").toAbsolutePath();
        for (Path folder = start; folder != null; folder = folder.getParent()) {
            Path pom = folder.resolve("pom.xml");
            if (Files.isRegularFile(pom) && !modulesIn(pom).isEmpty()) {
                return new SourceTree(folder);
            }
        }
        throw new IllegalStateException("no pom.xml with modules above " + start);
    }

    List<String> modules() {
        return modulesIn(root.resolve("pom.xml"));
    }

    /** Every Java file of every module, main or test sources, sorted. */
    List<Path> javaFiles(Part... parts) {
        List<Path> files = new ArrayList<>();
        for (String module : modules()) {
            for (Part part : parts) {
                files.addAll(filesUnder(root.resolve(module).resolve(part.folder)));
            }
        }
        return files;
    }

    static String text(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static List<Path> filesUnder(Path folder) {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (Stream<Path> files = Files.walk(folder)) {
            return files.filter(file -> file.toString().endsWith(".java")).sorted().toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static List<String> modulesIn(Path pom) {
        return MODULE.matcher(text(pom))
                .results()
                .map((MatchResult match) -> match.group(1))
                .toList();
    }

    /** Which sources of a module. */
    enum Part {
        MAIN("src/main/java"),
        TEST("src/test/java");

        private final String folder;

        Part(String folder) {
            this.folder = folder;
        }
    }
}
