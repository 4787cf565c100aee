package jlora.trainer.cli;

import java.io.ByteArrayOutputStream;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * A checkout in miniature for the launcher's tests: the real {@code jlora} and {@code find-jdk},
 * with a Maven and a JDK that are scripts of the test. Nothing outside the folder is built or used.
 */
final class LauncherSandbox implements AutoCloseable {
    /** What the launcher may need of a system; there is no mvn and no java among them. */
    private static final List<String> TOOLS =
            List.of(
                    "bash",
                    "cat",
                    "chmod",
                    "cp",
                    "dirname",
                    "find",
                    "flock",
                    "grep",
                    "ln",
                    "mkdir",
                    "mktemp",
                    "mv",
                    "readlink",
                    "rm",
                    "sed",
                    "sleep",
                    "sort",
                    "touch");

    private final Path folder;
    private final Path root;
    private final Map<String, String> environment = new TreeMap<>();

    LauncherSandbox(Path folder) throws IOException {
        this.folder = folder.toRealPath();
        this.root = this.folder.resolve("check out");
        Path repository = repository();
        copy(repository.resolve("jlora"), root.resolve("jlora"));
        copy(repository.resolve("scripts/find-jdk"), root.resolve("scripts/find-jdk"));
        write("pom.xml", "<jvm.flags>--add-modules=jdk.incubator.vector</jvm.flags>\n");
        write("trainer/pom.xml", "<project/>\n");
        write("trainer/src/main/java/A.java", "class A {}\n");
        write("trainer/src/main/java/B.java", "class B {}\n");
        Path tools = Files.createDirectories(this.folder.resolve("tools"));
        for (String tool : TOOLS) {
            Files.createSymbolicLink(tools.resolve(tool), onPath(tool));
        }
        environment.put("PATH", tools.toString());
        environment.put("HOME", this.folder.resolve("home").toString());
        environment.put("JLORA_JVM_FOLDERS", this.folder.resolve("jvm").toString());
        environment.put("LANG", "C.UTF-8");
    }

    Path root() {
        return root;
    }

    Path folder() {
        return folder;
    }

    LauncherSandbox with(String variable, String value) {
        environment.put(variable, value);
        return this;
    }

    /** A JDK of this release whose {@code java} is the given script. */
    Path jdk(String release, String script) throws IOException {
        Path home = folder.resolve("jvm/jdk-" + release);
        executable(home.resolve("bin/java"), script);
        executable(home.resolve("bin/javac"), "exit 1");
        Files.writeString(home.resolve("release"), "JAVA_VERSION=\"" + release + "\"\nOS=\"x\"\n");
        return home;
    }

    /** A Maven that runs the given script and then leaves the jars of a successful build. */
    void maven(String script) throws IOException {
        executable(
                folder.resolve("tools/mvn"),
                """
                echo call >> "%s"
                %s
                mkdir -p trainer/target/lib
                echo main > trainer/target/trainer-1.jar
                echo library > trainer/target/lib/library-2.jar
                """
                        .formatted(folder.resolve("mvn.calls"), script));
    }

    int mavenCalls() throws IOException {
        Path calls = folder.resolve("mvn.calls");
        return Files.exists(calls) ? Files.readAllLines(calls).size() : 0;
    }

    /** Makes a source look as if it were edited just now, whatever the clock's resolution. */
    void edit(String file) throws IOException {
        Instant later = Instant.now().plusSeconds(2);
        Files.setLastModifiedTime(root.resolve(file), FileTime.from(later));
    }

    /** Makes all inputs look old, as they are in a checkout that was built before. */
    void age() throws IOException {
        try (Stream<Path> paths = Files.walk(root)) {
            for (Path path : paths.toList()) {
                Files.setLastModifiedTime(
                        path, FileTime.from(Instant.now().minusSeconds(path.toString().length())));
            }
        }
    }

    /** Folders of finished builds. */
    List<Path> builds() throws IOException {
        try (Stream<Path> paths = Files.list(root.resolve("target/jlora"))) {
            return paths.filter(path -> path.getFileName().toString().startsWith("build."))
                    .filter(Files::isDirectory)
                    .toList();
        }
    }

    void write(String file, String text) throws IOException {
        Path path = root.resolve(file);
        Files.createDirectories(path.getParent());
        Files.writeString(path, text);
    }

    /** Starts {@code ./jlora} in the checkout. */
    Run start(String... arguments) throws IOException, InterruptedException {
        return start(root, root.resolve("jlora"), arguments);
    }

    /**
     * Starts a launcher in a folder. Its stderr goes through a named pipe, whose end comes only
     * when the launcher's filter has written everything, even after Java has ended.
     */
    Run start(Path workingFolder, Path launcher, String... arguments)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("bash", launcher.toString()));
        command.addAll(List.of(arguments));
        Path out = Files.createTempFile(folder, "out", "");
        Path err = folder.resolve(out.getFileName() + ".err");
        int made = new ProcessBuilder("mkfifo", err.toString()).inheritIO().start().waitFor();
        if (made != 0) {
            throw new IOException("mkfifo " + err + " failed");
        }
        Captured captured = new Captured(err);
        ProcessBuilder builder =
                new ProcessBuilder(command)
                        .directory(workingFolder.toFile())
                        .redirectOutput(out.toFile())
                        .redirectError(err.toFile());
        builder.environment().clear();
        builder.environment().putAll(environment);
        return new Run(builder.start(), out, captured);
    }

    Outcome run(String... arguments) throws IOException, InterruptedException {
        return start(arguments).await();
    }

    static Path repository() {
        Path candidate = Path.of("").toAbsolutePath();
        while (candidate != null && !Files.exists(candidate.resolve("scripts/find-jdk"))) {
            candidate = candidate.getParent();
        }
        if (candidate == null) {
            throw new IllegalStateException("no checkout above " + Path.of("").toAbsolutePath());
        }
        return candidate;
    }

    private static void executable(Path file, String script) throws IOException {
        Files.createDirectories(file.getParent());
        Files.writeString(file, "#!/usr/bin/env bash\n" + script + "\n");
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    private static void copy(Path from, Path to) throws IOException {
        Files.createDirectories(to.getParent());
        Files.copy(from, to);
        Files.setPosixFilePermissions(to, PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    private static Path onPath(String tool) {
        return Stream.of(System.getenv("PATH").split(":"))
                .map(entry -> FileSystems.getDefault().getPath(entry, tool))
                .filter(Files::isExecutable)
                .findFirst()
                .orElseThrow(() -> new IllegalStateException(tool + " is not on the PATH"));
    }

    /** How a start ended. */
    record Outcome(int code, String out, String err) {}

    /** The bytes that came through a named pipe so far. */
    static final class Captured {
        private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        private final Thread reader;

        Captured(Path pipe) {
            reader = Thread.ofPlatform().daemon().start(() -> read(pipe));
        }

        private void read(Path pipe) {
            try (InputStream in = new FileInputStream(pipe.toFile())) {
                in.transferTo(bytes);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        String text() {
            return bytes.toString(StandardCharsets.UTF_8);
        }

        boolean ended(Duration limit) throws InterruptedException {
            return reader.join(limit);
        }
    }

    /** A start under way. */
    record Run(Process process, Path out, Captured err) {
        private static final Duration LIMIT = Duration.ofSeconds(60);

        Outcome await() throws IOException, InterruptedException {
            if (!process.waitFor(LIMIT) || !err.ended(LIMIT)) {
                process.destroyForcibly();
                throw new AssertionError("the launcher did not end: " + err.text());
            }
            return new Outcome(process.exitValue(), Files.readString(out), err.text());
        }

        void awaitOutput(String expected) throws IOException, InterruptedException {
            await(() -> Files.readString(out), expected);
        }

        void awaitError(String expected) throws IOException, InterruptedException {
            await(err::text, expected);
        }

        private static void await(Source source, String expected)
                throws IOException, InterruptedException {
            long end = System.nanoTime() + LIMIT.toNanos();
            while (!source.text().contains(expected)) {
                if (System.nanoTime() > end) {
                    throw new AssertionError("no '" + expected + "' in: " + source.text());
                }
                Thread.sleep(10);
            }
        }

        private interface Source {
            String text() throws IOException;
        }
    }

    /** Removes the links to the system's tools, which JUnit would warn of. */
    @Override
    public void close() throws IOException {
        try (Stream<Path> paths = Files.walk(folder)) {
            for (Path link : paths.filter(Files::isSymbolicLink).toList()) {
                Files.delete(link);
            }
        }
    }
}
