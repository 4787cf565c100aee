package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.trainer.cli.LauncherSandbox.Outcome;
import jlora.trainer.cli.LauncherSandbox.Run;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.jar.JarEntry;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;

/** What {@code ./jlora} does before and around Java: JDK, build, stderr, signals, exit codes. */
@EnabledOnOs(OS.LINUX)
@Execution(ExecutionMode.CONCURRENT)
class LauncherTest {
    private static final String NOTE = "WARNING: Using incubator modules: jdk.incubator.vector";
    private static final String FIRST = "building jlora (first use)…\n";
    private static final String AGAIN = "building jlora (sources changed)…\n";

    private LauncherSandbox sandbox;

    @BeforeEach
    void makeCheckout(@TempDir Path folder) throws IOException {
        sandbox = new LauncherSandbox(folder);
    }

    @AfterEach
    void removeLinks() throws IOException {
        sandbox.close();
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void missingJdkIsOneSentence() throws Exception {
        sandbox.maven("true");
        sandbox.jdk("17.0.15", "echo old");
        Outcome outcome = sandbox.run();
        assertEquals(2, outcome.code());
        assertTrue(outcome.err().startsWith("jlora: no JDK 25 or newer was found; install one ("));
        assertEquals(1, outcome.err().lines().count(), outcome.err());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void unsuitableNamedJdkIsNotReplacedInSilence() throws Exception {
        sandbox.maven("true");
        sandbox.jdk("25.0.1", "echo new");
        Path old = sandbox.jdk("17.0.15", "echo old");
        Outcome outcome = sandbox.with("JLORA_JAVA_HOME", old.toString()).run();
        assertEquals(2, outcome.code());
        assertTrue(outcome.err().contains("JLORA_JAVA_HOME is " + old), outcome.err());
        assertEquals(1, outcome.err().lines().count(), outcome.err());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void newestJdkOfAFolderIsFoundPastAnOlderDefault() throws Exception {
        sandbox.maven("true");
        Path old = sandbox.jdk("17.0.15", "echo 17");
        sandbox.jdk("25.0.1", "echo 25");
        sandbox.jdk("26", "echo 26");
        sandbox.jdk("9.0.4", "echo 9");
        Outcome outcome = sandbox.with("JAVA_HOME", old.toString()).run();
        assertEquals(new Outcome(0, "26\n", FIRST), outcome);
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void missingMavenIsOneSentence() throws Exception {
        sandbox.jdk("25.0.1", "true");
        Outcome outcome = sandbox.run();
        assertEquals(2, outcome.code());
        assertTrue(outcome.err().startsWith("jlora: Maven (mvn) is not on the PATH"));
        assertTrue(outcome.err().contains("install it ("), outcome.err());
        assertEquals(1, outcome.err().lines().count(), outcome.err());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void mavenIsNotNeededOnceBuilt() throws Exception {
        sandbox.jdk("25.0.1", "echo ran");
        sandbox.maven("true");
        sandbox.age();
        sandbox.run();
        Files.delete(sandbox.folder().resolve("tools/mvn"));
        assertEquals(new Outcome(0, "ran\n", ""), sandbox.run());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void buildsOnFirstUseAndWhenSourcesChange() throws Exception {
        sandbox.jdk("25.0.1", "true");
        sandbox.maven("true");
        sandbox.age();
        assertEquals(FIRST, sandbox.run().err());
        assertEquals("", sandbox.run().err());
        assertEquals(1, sandbox.mavenCalls());
        sandbox.edit("trainer/src/main/java/A.java");
        assertEquals(AGAIN, sandbox.run().err());
        sandbox.age();
        sandbox.edit("pom.xml");
        assertEquals(AGAIN, sandbox.run().err());
        assertEquals(3, sandbox.mavenCalls());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void deletedSourceIsAChange() throws Exception {
        sandbox.jdk("25.0.1", "true");
        sandbox.maven("true");
        sandbox.age();
        sandbox.run();
        Thread.sleep(20); // file times tick every few milliseconds
        Files.delete(sandbox.root().resolve("trainer/src/main/java/B.java"));
        assertEquals(AGAIN, sandbox.run().err());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void noBuildIsHonoured() throws Exception {
        sandbox.jdk("25.0.1", "echo ran");
        sandbox.maven("true");
        Outcome unbuilt = sandbox.with("JLORA_NO_BUILD", "1").run();
        assertEquals(2, unbuilt.code());
        assertTrue(unbuilt.err().contains("JLORA_NO_BUILD"), unbuilt.err());
        assertEquals(0, sandbox.mavenCalls());
        sandbox.with("JLORA_NO_BUILD", "0").run();
        sandbox.edit("trainer/src/main/java/A.java");
        assertEquals(new Outcome(0, "ran\n", ""), sandbox.with("JLORA_NO_BUILD", "1").run());
        assertEquals(1, sandbox.mavenCalls());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void failedBuildShowsItsLogAndIsTriedAgain() throws Exception {
        sandbox.jdk("25.0.1", "echo ran");
        sandbox.maven("echo 'A.java is broken'; exit 1");
        Outcome outcome = sandbox.run();
        assertEquals(70, outcome.code());
        assertTrue(outcome.err().startsWith(FIRST + "A.java is broken\njlora: the build failed"));
        assertEquals(List.of(), sandbox.builds());
        sandbox.maven("echo 'a log that nobody needs'");
        assertEquals(new Outcome(0, "ran\n", FIRST), sandbox.run());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void twoStartsAtOnceBuildOnce() throws Exception {
        sandbox.jdk("25.0.1", "echo ran");
        sandbox.maven("sleep 0.5");
        sandbox.age();
        Run first = sandbox.start();
        first.awaitError(FIRST);
        Run second = sandbox.start();
        assertEquals(new Outcome(0, "ran\n", FIRST), first.await());
        assertEquals(
                new Outcome(0, "ran\n", "waiting for another jlora to build…\n"), second.await());
        assertEquals(1, sandbox.mavenCalls());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void runningProcessKeepsItsBuild() throws Exception {
        Path release = sandbox.folder().resolve("release");
        String wait = "echo started; until [[ -e '" + release + "' ]]; do sleep 0.02; done";
        sandbox.jdk("25.0.1", "if [[ ${*: -1} == wait ]]; then " + wait + "; fi");
        sandbox.maven("true");
        sandbox.age();
        Run running = sandbox.start("wait");
        running.awaitOutput("started");
        List<Path> old = sandbox.builds();
        sandbox.edit("trainer/src/main/java/A.java");
        sandbox.run();
        assertTrue(sandbox.builds().containsAll(old), "the jars in use were removed");
        assertEquals(2, sandbox.builds().size());
        Files.createFile(release);
        assertEquals(0, running.await().code());
        sandbox.edit("trainer/src/main/java/B.java");
        sandbox.run();
        assertEquals(1, sandbox.builds().size(), "unused builds stay behind");
        assertFalse(sandbox.builds().containsAll(old));
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void onlyTheNoteIsDroppedFromStderr() throws Exception {
        String script = "printf 'first\\n" + NOTE + "\\nsecond\\n" + NOTE + "\\nlast' >&2; exit 7";
        sandbox.jdk("25.0.1", script);
        sandbox.maven("true");
        Outcome outcome = sandbox.run();
        assertEquals(FIRST + "first\nsecond\n" + NOTE + "\nlast", outcome.err());
        assertEquals(7, outcome.code());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void stderrWithoutTheNoteIsWhole() throws Exception {
        sandbox.jdk("25.0.1", "printf '  Error: \\\\x\\nno end' >&2; exit 1");
        sandbox.maven("true");
        assertEquals(new Outcome(1, "", FIRST + "  Error: \\x\nno end"), sandbox.run());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void unfinishedLineAppearsAtOnce() throws Exception {
        sandbox.jdk("25.0.1", "printf '" + NOTE + "\\n50%%' >&2; while :; do sleep 0.02; done");
        sandbox.maven("true");
        Run run = sandbox.start();
        run.awaitError("50%");
        run.process().destroy();
        run.await();
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void terminationReachesJavaAndItsLastWordsReachTheUser() throws Exception {
        sandbox.jdk(
                "25.0.1",
                "echo '"
                        + NOTE
                        + "' >&2; trap 'echo saved >&2; exit 75' TERM; echo started;"
                        + " while :; do sleep 0.02; done");
        sandbox.maven("true");
        Run run = sandbox.start();
        run.awaitOutput("started");
        run.process().destroy();
        assertEquals(new Outcome(75, "started\n", FIRST + "saved\n"), run.await());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void worksFromAnywhereAndThroughALink() throws Exception {
        sandbox.jdk("25.0.1", "pwd; printf '<%s>' \"${@: -3}\"");
        sandbox.maven("true");
        Path elsewhere = Files.createDirectories(sandbox.folder().resolve("else where"));
        Path bin = Files.createDirectories(sandbox.folder().resolve("bin"));
        Path link = Files.createSymbolicLink(bin.resolve("jl"), sandbox.root().resolve("jlora"));
        Outcome outcome = sandbox.start(elsewhere, link, "train", "a file.yaml", "*").await();
        assertEquals(elsewhere + "\n<train><a file.yaml><*>", outcome.out());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void javaGetsTheFlagsAndTheJarsOfTheBuild() throws Exception {
        sandbox.jdk("25.0.1", "printf '%s\\n' \"$@\"; cat \"${1#@}\"");
        sandbox.maven("true");
        sandbox.with("JLORA_JAVA_OPTS", "-Xmx8g -Da=b");
        List<String> lines = sandbox.run("--version").out().lines().toList();
        String build = sandbox.builds().getFirst().toString();
        assertEquals(
                List.of(
                        "@" + build + "/java.args",
                        "-Djlora.home=" + sandbox.root(),
                        "-cp",
                        build + "/library-2.jar:" + build + "/trainer-1.jar",
                        "-Xmx8g",
                        "-Da=b",
                        "jlora.trainer.cli.Main",
                        "--version",
                        "--add-modules=jdk.incubator.vector"),
                lines.subList(0, 9));
    }

    /** The same with this JVM and these classes: what a user sees, byte for byte. */
    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void realJavaPrintsTheVersionAndNothingElse() throws Exception {
        Path jars = Files.createDirectories(sandbox.folder().resolve("jars"));
        for (String entry : System.getProperty("java.class.path").split(":")) {
            pack(Path.of(entry), jars);
        }
        sandbox.maven("mkdir -p trainer/target/lib; cp '" + jars + "'/*.jar trainer/target/lib/");
        sandbox.with("JLORA_JAVA_HOME", System.getProperty("java.home"));
        Outcome version = sandbox.run("--version");
        assertEquals(FIRST, version.err());
        assertEquals(VersionInfo.line() + "\n", version.out());
        Outcome wrong = sandbox.run("--wrong");
        assertEquals(2, wrong.code());
        assertTrue(wrong.err().startsWith("jlora: Unknown option: '--wrong'\n"), wrong.err());
    }

    private static void pack(Path entry, Path into) throws IOException {
        if (Files.isRegularFile(entry)) {
            Files.createSymbolicLink(into.resolve(entry.getFileName()), entry);
            return;
        }
        if (!Files.isDirectory(entry)) {
            return;
        }
        Path jar = Files.createTempFile(into, "classes", ".jar");
        try (OutputStream file = Files.newOutputStream(jar);
                JarOutputStream out = new JarOutputStream(file);
                Stream<Path> paths = Files.walk(entry)) {
            for (Path path : paths.filter(Files::isRegularFile).toList()) {
                out.putNextEntry(new JarEntry(entry.relativize(path).toString()));
                Files.copy(path, out);
                out.closeEntry();
            }
        }
    }
}
