package jlora.trainer.metrics.tensorboard;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.RunStart;
import jlora.trainer.metrics.StepMetrics;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.InstantSource;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Event files, read by a reader of the tests' own. TensorBoard 2.21's EventAccumulator read the
 * files of a run with this code too, a resume included: docs/observing.md says how to repeat it.
 */
class TensorBoardReportTest {
    private static final InstantSource CLOCK =
            InstantSource.fixed(Instant.parse("2026-03-01T10:00:00.25Z"));

    @TempDir Path folder;

    private Path events() {
        return TensorBoardReport.folder(folder);
    }

    private TensorBoardReport report(long seconds) throws IOException {
        return new TensorBoardReport(EventFile.create(events(), seconds), CLOCK);
    }

    private static RunStart start(long done) {
        return new RunStart(done, 0, 9, 1, 1, Optional.empty(), 1);
    }

    private List<EventReader.Event> only() throws IOException {
        List<Path> files = EventFile.list(events());
        assertEquals(1, files.size());
        return EventReader.read(files.getFirst());
    }

    @Test
    void scalarsHaveTheTagsOfTransformersAndAreOutAtOnce() throws IOException {
        try (TensorBoardReport report = report(1_700_000_000)) {
            report.started(start(0));
            report.step(new StepMetrics(3, 0.75, 2.5, 0.125, 1e-4, 100, 0.5));
            report.evaluated(new EvalMetrics(300, 1.5, 0.0, 7, 0.25));
            List<EventReader.Event> written = only();
            assertEquals("brain.Event:2", written.getFirst().version());
            assertEquals(1772359200.25, written.getFirst().time());
            assertEquals(
                    new EventReader.Event(
                            1772359200.25,
                            3,
                            "",
                            false,
                            Map.of(
                                    "train/loss", 2.5f,
                                    "train/grad_norm", 0.125f,
                                    "train/learning_rate", 1e-4f,
                                    "train/epoch", 0.75f,
                                    "train/tokens_per_second", 200f)),
                    written.get(1));
            assertEquals(300, written.get(2).step());
            assertEquals(
                    Map.of("eval/loss", 0f, "eval/perplexity", 1f, "eval/runtime", 0.25f),
                    written.get(2).scalars());
            assertEquals(3, written.size());
        }
    }

    @Test
    void aResumedRunBeginsAFileThatTakesBackTheStepsToCome() throws IOException {
        try (TensorBoardReport first = report(1_700_000_000)) {
            first.started(start(0));
            first.step(new StepMetrics(4, 0.75, 2.5, 0.125, 1e-4, 100, 0.5));
        }
        // The second machine's clock is behind.
        try (TensorBoardReport second = report(1_600_000_000)) {
            second.started(start(3));
            second.step(new StepMetrics(4, 0.75, 2.25, 0.125, 1e-4, 100, 0.5));
        }
        List<Path> files = EventFile.list(events());
        assertEquals(2, files.size());
        assertTrue(files.get(1).toString().contains("tfevents.1700000001."), files.toString());
        List<EventReader.Event> second = EventReader.read(files.get(1));
        assertEquals("brain.Event:2", second.get(0).version());
        assertTrue(second.get(1).restart());
        assertEquals(4, second.get(1).step(), "the first step that is done again");
        assertEquals(2.25f, second.get(2).scalars().get("train/loss"));
        assertTrue(EventReader.read(files.get(0)).stream().noneMatch(EventReader.Event::restart));
    }

    @Test
    void filesAreNamedByTimeHostAndProcess() throws IOException {
        report(5).close();
        Path file = EventFile.list(events()).getFirst();
        assertEquals(folder.resolve("runs/jlora"), file.getParent());
        assertTrue(
                file.getFileName()
                        .toString()
                        .matches(
                                "events\\.out\\.tfevents\\.0000000005\\.[A-Za-z0-9.-]+\\."
                                        + ProcessHandle.current().pid()
                                        + "\\.0"),
                file.toString());
    }

    @Test
    void onlyEventFilesAreDeleted() throws IOException {
        report(5).close();
        report(5).close();
        Path other = Files.writeString(events().resolve("notes.txt"), "mine");
        TensorBoardReport.delete(folder);
        try (var left = Files.list(events())) {
            assertEquals(Set.of(other), Set.copyOf(left.toList()));
        }
        TensorBoardReport.delete(folder.resolve("nowhere"));
    }

    @Test
    void aFolderThatCannotBeMadeIsOneSentence() throws IOException {
        Files.writeString(folder.resolve("runs"), "a file");
        JloraException e =
                assertThrows(JloraException.class, () -> TensorBoardReport.create(folder));
        assertEquals(ExitCode.CHECKPOINT_IO, e.exitCode());
        assertTrue(e.getMessage().contains("runs/jlora: events for TensorBoard"), e.getMessage());
    }

    /** Values of the Protocol Buffers encoding guide, and those at the ends. */
    @ParameterizedTest
    @CsvSource({"150,089601", "1,0801", "127,087f", "128,088001", "-1,08ffffffffffffffffff01"})
    void integersAreVarints(long value, String hex) {
        assertArrayEquals(
                HexFormat.of().parseHex(hex), new ProtoMessage().integer(1, value).toBytes());
    }

    @Test
    void textAndMessagesHaveTheirLengthFirst() {
        ProtoMessage inner = new ProtoMessage().integer(1, 150);
        assertEquals(
                "120774657374696e67" + "1a03089601",
                HexFormat.of()
                        .formatHex(
                                new ProtoMessage().text(2, "testing").message(3, inner).toBytes()));
    }
}
