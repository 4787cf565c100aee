package jlora.trainer.job;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.Collective;
import jlora.runtime.io.Fingerprint;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Placement;
import jlora.trainer.Version;

import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Whether all workers are about to do the same run. Each writes the fingerprints of what it knows
 * into a row of its own of a table that is 0 elsewhere; the sum over the workers is everyone's
 * table. A fingerprint is 64 bits in four whole numbers, which f32 sums exactly.
 */
final class RunAgreement {
    private static final int NUMBERS = 4;

    private final Backend backend;
    private final Collective workers;

    RunAgreement(Backend backend, Collective workers) {
        this.backend = backend;
        this.workers = workers;
    }

    /**
     * Compares what this worker knows with what the first one knows.
     *
     * @param facts by what people call them
     * @throws JloraException with exit code 2 on all workers when any differs, which names the
     *     worker and what differs
     */
    void require(Map<String, String> facts) {
        SortedMap<String, String> sorted = new TreeMap<>(facts);
        // Other versions may have other facts: these two come first, in a table of their own.
        SortedMap<String, String> first = new TreeMap<>();
        first.put("the version of jlora", Version.text() + " " + sorted.keySet());
        compare(first);
        compare(sorted);
    }

    private void compare(SortedMap<String, String> facts) {
        int cols = facts.size() * NUMBERS;
        float[] table = new float[workers.ranks() * cols];
        int at = workers.rank() * cols;
        for (String value : facts.values()) {
            for (int number : numbers(value)) {
                table[at++] = number;
            }
        }
        float[] all = sum(table, cols);
        List<String> names = List.copyOf(facts.keySet());
        for (int rank = 1; rank < workers.ranks(); rank++) {
            List<String> different = new ArrayList<>();
            for (int i = 0; i < names.size(); i++) {
                if (differs(all, i * NUMBERS, rank * cols + i * NUMBERS)) {
                    different.add(names.get(i));
                }
            }
            if (!different.isEmpty()) {
                throw JloraException.usage(
                        "worker "
                                + rank
                                + " differs from worker 0 in "
                                + String.join(", ", different)
                                + "; give all workers the same configuration, files and version.");
            }
        }
    }

    private static boolean differs(float[] all, int one, int other) {
        for (int i = 0; i < NUMBERS; i++) {
            if (all[one + i] != all[other + i]) {
                return true;
            }
        }
        return false;
    }

    private float[] sum(float[] table, int cols) {
        Tensor tensor =
                Tensor.dense(
                        "fingerprints of the workers",
                        Storage.Role.RESULT,
                        DType.F32,
                        workers.ranks(),
                        cols);
        try (MemoryArena _ =
                Placement.allocate(backend, tensor.name(), List.of(tensor.storage()))) {
            backend.upload(tensor, MemorySegment.ofArray(table));
            workers.sum(tensor);
            float[] all = new float[table.length];
            backend.download(MemorySegment.ofArray(all), tensor);
            return all;
        }
    }

    private static int[] numbers(String value) {
        MessageDigest digest = Fingerprint.sha256();
        byte[] hash = digest.digest(value.getBytes(StandardCharsets.UTF_8));
        int[] numbers = new int[NUMBERS];
        for (int i = 0; i < NUMBERS; i++) {
            numbers[i] = (hash[2 * i] & 0xff) << 8 | hash[2 * i + 1] & 0xff;
        }
        return numbers;
    }
}
