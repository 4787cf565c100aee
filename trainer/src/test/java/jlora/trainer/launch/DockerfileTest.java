package jlora.trainer.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The image's recipe agrees with what scripts/bundle makes and what manifests ask of it. */
class DockerfileTest {
    private static final Path ROOT = Path.of("..");

    /** Instructions with their arguments, continued lines joined. */
    private static List<String> instructions() throws IOException {
        List<String> found = new ArrayList<>();
        StringBuilder line = new StringBuilder();
        for (String read : Files.readAllLines(ROOT.resolve("Dockerfile"))) {
            if (read.isBlank() || read.startsWith("#")) {
                continue;
            }
            boolean goesOn = read.endsWith("\\");
            line.append(goesOn ? read.substring(0, read.length() - 1) : read);
            if (!goesOn) {
                found.add(line.toString().strip());
                line.setLength(0);
            }
        }
        assertEquals("", line.toString(), "the last line goes on");
        return found;
    }

    private static List<String> all(String instruction) throws IOException {
        return instructions().stream()
                .filter(line -> line.startsWith(instruction + " "))
                .map(line -> line.substring(instruction.length() + 1))
                .toList();
    }

    private static String shellVariable(String script, String name) {
        Matcher m = Pattern.compile("(?m)^" + name + "=(\\S+)$").matcher(script);
        assertTrue(m.find(), name);
        return m.group(1);
    }

    @Test
    void onlyKnownInstructionsInAnOrderThatDockerTakes() throws IOException {
        List<String> names = instructions().stream().map(line -> line.split(" ")[0]).toList();
        assertEquals(
                List.of(
                        "ARG",
                        "FROM",
                        "RUN",
                        "COPY",
                        "ENV",
                        "USER",
                        "WORKDIR",
                        "ENTRYPOINT",
                        "CMD"),
                names);
    }

    @Test
    void theBaseIsPinned() throws IOException {
        assertEquals(List.of("${BASE}"), all("FROM"));
        String base = all("ARG").getFirst().replace("BASE=", "");
        assertTrue(base.matches("nvidia/cuda:\\d+\\.\\d+\\.\\d+-cudnn-runtime-ubuntu\\S+"), base);
    }

    @Test
    void whatIsCopiedIsWhatTheBundleMakes() throws IOException {
        String script = Files.readString(ROOT.resolve("scripts/bundle"));
        String version =
                Files.readString(ROOT.resolve("pom.xml"))
                        .replaceAll("(?s).*?<version>(.*?)<.*", "$1");
        Path bundle =
                Path.of(
                        shellVariable(script, "out"),
                        shellVariable(script, "name").replace("$version", version));
        String[] copy = all("COPY").getFirst().split(" ");
        String source = copy[0].replaceAll("/$", "");
        assertTrue(
                FileSystems.getDefault().getPathMatcher("glob:" + source).matches(bundle),
                source + " is not " + bundle);
        assertFalse(
                FileSystems.getDefault()
                        .getPathMatcher("glob:" + source)
                        .matches(Path.of(bundle + ".tar.xz")));
        assertEquals("/opt/jlora/", copy[1]);
        assertTrue(script.contains("cat >\"$bundle/bin/jlora\""), "the entry point");
        assertTrue(all("ENV").getFirst().startsWith("PATH=/opt/jlora/bin:"));
        // .dockerignore leaves nothing else, and lets it through.
        List<String> ignored = Files.readAllLines(ROOT.resolve(".dockerignore"));
        assertTrue(ignored.contains("*") && ignored.contains("!target/bundle"), ignored + "");
    }

    @Test
    void runsAsTheUserThatManifestsName() throws IOException {
        assertEquals(List.of("10001:10001"), all("USER"));
        assertEquals(List.of("[\"jlora\"]"), all("ENTRYPOINT"));
        assertTrue(all("RUN").getFirst().contains("openmpi-bin"));
    }
}
