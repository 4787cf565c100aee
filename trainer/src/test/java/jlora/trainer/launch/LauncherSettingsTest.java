package jlora.trainer.launch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.Json;
import jlora.trainer.cli.CommandLineRun;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** What holds for every way to launch. */
class LauncherSettingsTest {
    @TempDir Path folder;
    private Launch launch;

    @BeforeEach
    void create() throws IOException {
        launch = Launch.in(folder);
    }

    @Test
    void everyLauncherIsListedOnceAndDocumented() throws IOException {
        List<Launcher> launchers = Launchers.ALL.stream().map(kind -> kind.get()).toList();
        Set<String> names = launchers.stream().map(Launcher::name).collect(Collectors.toSet());
        assertEquals(launchers.size(), names.size());
        try (Stream<Path> files = Files.list(Path.of("src/main/java/jlora/trainer/launch"))) {
            Set<String> written =
                    files.map(file -> file.getFileName().toString())
                            .filter(file -> file.matches("\\w+Launcher[.]java"))
                            .map(file -> file.replace(".java", ""))
                            .collect(Collectors.toCollection(TreeSet::new));
            assertEquals(
                    written,
                    launchers.stream()
                            .map(l -> l.getClass().getSimpleName())
                            .collect(Collectors.toCollection(TreeSet::new)));
        }
        String page = Files.readString(Path.of("../docs/clusters.md"));
        for (Launcher launcher : launchers) {
            assertTrue(page.contains("jlora launch " + launcher.name()), launcher.name());
        }
    }

    @Test
    void everyOptionIsDocumented() throws IOException {
        String page = Files.readString(Path.of("../docs/clusters.md"));
        for (String where : List.of("local", "slurm", "kubernetes")) {
            String help = CommandLineRun.of("launch", where, "--help").out();
            java.util.regex.Pattern.compile("(?m)^ +(?:-\\w, )?(--[a-z-]+)")
                    .matcher(help)
                    .results()
                    .map(m -> m.group(1))
                    .filter(o -> !Set.of("--help", "--version", "--key").contains(o))
                    .forEach(o -> assertTrue(page.contains("`" + o + "`"), where + " " + o));
        }
    }

    @Test
    void whatCannotFitIsRefusedBeforeAnythingIsWritten() {
        Object[] large = {"per_device_train_batch_size=400000", "max_length=64"};
        for (String where : List.of("local", "slurm")) {
            CommandLineRun run =
                    launch.run(
                            where,
                            Stream.concat(Stream.of("--device", "l4"), Stream.of(large)).toArray());
            run.refused(ExitCode.OUT_OF_MEMORY);
        }
        launch.kubernetes("--device", "l4", large[0], large[1]).refused(ExitCode.OUT_OF_MEMORY);
        assertFalse(Files.exists(folder.resolve("out")));
    }

    @Test
    void aMachineTooSmallForItsWorkersIsRefused() {
        Object[] cpu = {"--device", "cpu", "--jlora", "/bin/true", "--dry-run", "--workers", 2};
        CommandLineRun fits =
                launch.run(
                        "slurm",
                        Stream.concat(Stream.of(cpu), Stream.of("--node-memory", "6GiB"))
                                .toArray());
        assertEquals(0, fits.code(), fits.err());
        launch.run(
                        "slurm",
                        Stream.concat(Stream.of(cpu), Stream.of("--node-memory", "5GiB")).toArray())
                .refused(ExitCode.OUT_OF_MEMORY);
        launch.run(
                "slurm",
                Stream.concat(Stream.of(cpu), Stream.of("--node-memory", "5GiB", "--heap", "1GiB"))
                        .toArray());
        launch.run("slurm", "--device", "h100", "--workers", 8, "--node-memory", "32GiB")
                .refused(ExitCode.OUT_OF_MEMORY, "8 workers", "32.00 GiB", "--heap");
    }

    @Test
    void aDeviceElsewhereHasToBeNamed() {
        launch.run("slurm").refused(ExitCode.USAGE, "device is auto", "--device h100");
        launch.run("slurm", "device=cuda").refused(ExitCode.USAGE, "device is cuda");
        launch.run("slurm", "device=cpu", "--device", "h100")
                .refused(ExitCode.USAGE, "device is cpu", "h100");
        launch.run("slurm", "--device", "h1000").refused(ExitCode.USAGE, "h1000");
    }

    @Test
    void workersSpreadEvenlyOrAreRefused() {
        launch.run("slurm", "--device", "h100", "--workers", 12, "--gpus-per-node", 8)
                .refused(ExitCode.USAGE, "--workers 12", "8 on each");
        launch.run("slurm", "--device", "h100", "--workers", 0).refused(ExitCode.USAGE);
    }

    @Test
    void aJobThatMayRestartHasOneBeginning() {
        launch.run("slurm", "--device", "cpu", "resume_from_checkpoint=" + folder)
                .refused(ExitCode.USAGE, "resume_from_checkpoint", "adapter_name_or_path");
        launch.run("slurm", "--device", "cpu", "overwrite=true")
                .refused(ExitCode.USAGE, "overwrite");
    }

    @Test
    void gracePeriodsHoldTwoStepsAndACheckpoint() {
        assertEquals(300, GracePeriod.seconds(Optional.empty(), Optional.empty(), 1000));
        assertEquals(60, GracePeriod.seconds(Optional.empty(), Optional.of(1.0), 1000));
        assertEquals(410, GracePeriod.seconds(Optional.empty(), Optional.of(200.0), 0));
        // Eight billion parameters, each with its moments.
        assertEquals(970, GracePeriod.seconds(Optional.empty(), Optional.empty(), 8_000_000_000L));
        assertEquals(410, GracePeriod.seconds(Optional.of(410), Optional.of(200.0), 0));
        JloraException refused =
                assertThrows(
                        JloraException.class,
                        () -> GracePeriod.seconds(Optional.of(409), Optional.of(200.0), 0));
        assertTrue(refused.getMessage().contains("410 seconds"), refused.getMessage());
    }

    @Test
    void wordsThatYaml11UnderstandsOtherwiseAreQuoted() {
        String yaml =
                Yaml.write(
                        List.of(
                                Maps.of(
                                        "a",
                                        "on",
                                        "b",
                                        "1:30",
                                        "c",
                                        "yes",
                                        "d",
                                        "null",
                                        "e",
                                        "1e3",
                                        "f",
                                        "plain/word",
                                        "g",
                                        "a: b",
                                        "h",
                                        "# c",
                                        "i",
                                        "",
                                        "j",
                                        "two\nlines\n",
                                        "k",
                                        true,
                                        "l",
                                        3,
                                        "m",
                                        "0x1f",
                                        "n",
                                        "~",
                                        "o",
                                        "\u0001")));
        assertEquals(
                """
                ---
                a: "on"
                b: "1:30"
                c: "yes"
                d: "null"
                e: "1e3"
                f: plain/word
                g: "a: b"
                h: "# c"
                i: ""
                j: |
                  two
                  lines
                k: true
                l: 3
                m: "0x1f"
                "n": "~"
                o: "\\x01"
                """,
                yaml);
    }

    @Test
    void theEndOfAProcessIsOneShortLine() {
        byte[] line =
                TerminationLog.line(75, Optional.of(12L), Optional.of("stopped \"here\"\nnow"));
        String text = new String(line, StandardCharsets.UTF_8);
        assertEquals(1, text.lines().count());
        ObjectNode record = Json.parseObject("line", 1, line);
        assertEquals(75, record.get("exit_code").asInt());
        assertEquals("preempted with a committed checkpoint", record.get("meaning").asText());
        assertEquals(12, record.get("step").asLong());
        assertEquals("stopped \"here\"\nnow", record.get("message").asText());
        for (String piece : List.of("a", "ä", "\u0001", "😀", "x😀")) {
            byte[] cut =
                    TerminationLog.line(4, Optional.empty(), Optional.of(piece.repeat(20_000)));
            assertTrue(cut.length <= 4096, piece + " " + cut.length);
            assertTrue(cut.length > 2000, piece + " " + cut.length);
            String kept = Json.parseObject("line", 1, cut).get("message").asText();
            assertTrue(piece.repeat(20_000).startsWith(kept), piece);
        }
        assertTrue(
                new String(
                                TerminationLog.line(137, Optional.empty(), Optional.empty()),
                                StandardCharsets.UTF_8)
                        .contains("killed by signal 9"));
    }

    @Test
    void onlyWhoAsksForTheLineGetsIt() {
        assertEquals(Optional.empty(), TerminationLog.target(Map.of()));
        assertEquals(
                Optional.empty(),
                TerminationLog.target(
                        Map.of(
                                "JLORA_TERMINATION_LOG",
                                "",
                                "KUBERNETES_SERVICE_HOST",
                                "10.0.0.1")));
        assertEquals(
                Optional.of(Path.of("/x")),
                TerminationLog.target(Map.of("JLORA_TERMINATION_LOG", "/x")));
    }
}
