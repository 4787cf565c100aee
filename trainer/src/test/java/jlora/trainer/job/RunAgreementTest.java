package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.ThreadCollective;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;

import org.junit.jupiter.api.Test;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** Workers that are about to do the same run, and others. */
class RunAgreementTest {
    /** What each rank is told; empty for agreement. */
    private static List<Optional<JloraException>> compare(List<Map<String, String>> facts)
            throws Exception {
        List<ThreadCollective> ranks = ThreadCollective.group(facts.size());
        try (ExecutorService threads = Executors.newFixedThreadPool(facts.size())) {
            List<Future<Optional<JloraException>>> told = new ArrayList<>();
            for (int i = 0; i < facts.size(); i++) {
                Map<String, String> own = facts.get(i);
                ThreadCollective rank = ranks.get(i);
                told.add(
                        threads.submit(
                                () -> {
                                    try (ReferenceBackend backend = new ReferenceBackend()) {
                                        new RunAgreement(backend, rank).require(own);
                                        return Optional.empty();
                                    } catch (JloraException e) {
                                        return Optional.of(e);
                                    }
                                }));
            }
            List<Optional<JloraException>> results = new ArrayList<>();
            for (Future<Optional<JloraException>> one : told) {
                results.add(one.get());
            }
            return results;
        }
    }

    private static Map<String, String> facts(String rate, String data) {
        return Map.of("learning_rate", rate, "the data", data, "seed", "42");
    }

    @Test
    void workersThatKnowTheSameAgree() throws Exception {
        compare(List.of(facts("1", "a"), facts("1", "a"), facts("1", "a")))
                .forEach(told -> assertEquals(Optional.empty(), told));
    }

    @Test
    void allHearWhichWorkerDiffersInWhat() throws Exception {
        for (Optional<JloraException> told :
                compare(List.of(facts("1", "a"), facts("1", "a"), facts("2", "b")))) {
            JloraException e = told.orElseThrow();
            assertEquals(ExitCode.USAGE, e.exitCode());
            assertTrue(
                    e.getMessage().startsWith("worker 2 differs from worker 0 in learning_rate,")
                            && e.getMessage().contains("the data")
                            && !e.getMessage().contains("seed"),
                    e.getMessage());
        }
    }

    /** Their tables would not even have the same size. */
    @Test
    void anotherVersionWithOtherFactsIsNamedAsSuch() throws Exception {
        for (Optional<JloraException> told :
                compare(List.of(facts("1", "a"), Map.of("learning_rate", "1")))) {
            assertTrue(
                    told.orElseThrow().getMessage().contains("worker 1")
                            && told.get().getMessage().contains("the version of jlora"),
                    told.get().getMessage());
        }
    }
}
