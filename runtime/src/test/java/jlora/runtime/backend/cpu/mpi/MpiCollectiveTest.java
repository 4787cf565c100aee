package jlora.runtime.backend.cpu.mpi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** Ranks that a real Open MPI joins. */
@Tag("cluster")
class MpiCollectiveTest {
    private static final double TIMEOUT_SECONDS = 4;

    private static MpiRun run(int ranks, String what) throws IOException, InterruptedException {
        return MpiRun.of(ranks, MpiProbe.class, List.of(what, Double.toString(TIMEOUT_SECONDS)));
    }

    /** How often each line was printed. */
    private static Map<String, Long> lines(MpiRun run, String start) {
        return run.output()
                .lines()
                .filter(line -> line.startsWith(start))
                .collect(Collectors.groupingBy(line -> line, Collectors.counting()));
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4})
    void sumsAreTheSameBitsOnAllRanksAndInEveryRun(int ranks)
            throws IOException, InterruptedException {
        MpiRun first = run(ranks, "ok");
        assertEquals(0, first.code(), first.output());
        Map<String, Long> sums = lines(first, "SUM");
        assertEquals(5, sums.size(), "five counts, each the same on all ranks: " + sums);
        sums.forEach((line, times) -> assertEquals(2 * ranks, times, line));
        assertEquals(12 * ranks, first.output().lines().filter(l -> l.startsWith("GATH")).count());
        assertEquals(sums, lines(run(ranks, "ok"), "SUM"));
    }

    @Test
    void aRankThatStopsEndsTheOthersWithinTheTimeout() throws IOException, InterruptedException {
        MpiRun run = run(2, "freeze");
        assertEquals(7, run.code(), run.output());
        var failed = Pattern.compile("FAILED after ([\\d.]+) s").matcher(run.output());
        assertTrue(failed.find(), run.output());
        double waited = Double.parseDouble(failed.group(1));
        assertTrue(waited >= TIMEOUT_SECONDS && waited < 1.1 * TIMEOUT_SECONDS, run.output());
    }

    @ParameterizedTest
    @ValueSource(strings = {"leave", "kill"})
    void aRankThatEndsEndsTheOthers(String how) throws IOException, InterruptedException {
        MpiRun run = run(2, how);
        assertTrue(run.code() != 0, run.output());
        assertTrue(run.seconds() < 30, run.seconds() + " s\n" + run.output());
    }
}
