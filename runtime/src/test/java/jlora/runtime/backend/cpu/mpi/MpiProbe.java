package jlora.runtime.backend.cpu.mpi;

import jlora.runtime.JloraException;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.Random;

/** One rank of {@link MpiCollectiveTest}. */
final class MpiProbe {
    /** Small, so that a few thousand numbers already go in several pieces, the last one odd. */
    private static final long SUM_BYTES = 4096;

    private static final long GATHER_BYTES = 1000;

    private MpiProbe() {}

    /**
     * @param arguments {@code ok}, or how rank 1 fails ({@code freeze}, {@code leave}), and the
     *     timeout in seconds
     */
    public static void main(String[] arguments) throws IOException, InterruptedException {
        Duration timeout = Duration.ofMillis((long) (1000 * Double.parseDouble(arguments[1])));
        long asked = System.nanoTime();
        try (MpiCollective ranks = MpiCollective.join(timeout, SUM_BYTES, GATHER_BYTES)) {
            check(ranks);
            if (!arguments[0].equals("ok") && ranks.rank() == 1) {
                fail(arguments[0]);
            }
            asked = System.nanoTime();
            check(ranks);
            ranks.finish();
        } catch (JloraException e) {
            double waited = (System.nanoTime() - asked) / 1e9;
            System.out.printf("FAILED after %.2f s: %s%n", waited, e.getMessage());
            System.exit(e.exitCode().code());
        }
    }

    private static void fail(String how) throws IOException, InterruptedException {
        if (how.equals("leave")) {
            System.exit(70);
        }
        String pid = Long.toString(ProcessHandle.current().pid());
        new ProcessBuilder("kill", how.equals("freeze") ? "-STOP" : "-KILL", pid).start();
        Thread.sleep(60_000);
    }

    private static void check(MpiCollective ranks) {
        for (int count : new int[] {1, 17, 1024, 5000, 40_001}) {
            sum(ranks, count);
        }
        for (int rows : new int[] {1, 3, 700}) {
            for (boolean inPlace : new boolean[] {false, true}) {
                gather(ranks, rows, inPlace);
            }
        }
    }

    private static float value(int rank, int i) {
        return (float) new Random(31L * i + rank).nextGaussian();
    }

    private static void sum(MpiCollective ranks, int count) {
        Tensor tensor = tensor("numbers", DType.F32, 1, count);
        for (int i = 0; i < count; i++) {
            tensor.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, value(ranks.rank(), i));
        }
        ranks.sum(tensor);
        int hash = 1;
        for (int i = 0; i < count; i++) {
            double sum = 0;
            for (int r = 0; r < ranks.ranks(); r++) {
                sum += value(r, i);
            }
            float found = tensor.segment().getAtIndex(ValueLayout.JAVA_FLOAT, i);
            if (Math.abs(found - sum) > 1e-5) {
                throw new AssertionError("number " + i + " is " + found + ", not " + sum);
            }
            hash = 31 * hash + Float.floatToRawIntBits(found);
        }
        System.out.println("SUM " + count + " " + hash);
    }

    private static void gather(MpiCollective ranks, int rows, boolean inPlace) {
        int cols = 7;
        Tensor whole = tensor("whole", DType.BF16, (long) rows * ranks.ranks(), cols);
        Tensor part =
                inPlace
                        ? whole.rows((long) rows * ranks.rank(), rows)
                        : tensor("part", DType.BF16, rows, cols);
        for (int r = 0; r < rows; r++) {
            for (int c = 0; c < cols; c++) {
                short value = (short) (ranks.rank() * 10_007 + r * cols + c);
                part.segment().set(ValueLayout.JAVA_SHORT, part.byteOffset(r) + 2L * c, value);
            }
        }
        ranks.gather(whole, part);
        for (int i = 0; i < rows * cols * ranks.ranks(); i++) {
            short found = whole.segment().getAtIndex(ValueLayout.JAVA_SHORT, i);
            int rank = i / (rows * cols);
            if (found != (short) (rank * 10_007 + i % (rows * cols))) {
                throw new AssertionError("element " + i + " of " + whole + " is " + found);
            }
        }
        System.out.println("GATHERED " + rows + " " + inPlace);
    }

    private static Tensor tensor(String name, DType dtype, long rows, long cols) {
        Tensor tensor = Tensor.dense(name, Storage.Role.RESULT, dtype, rows, cols);
        MemoryArena.host(name, tensor.storage().bytes()).place(tensor.storage(), 0);
        return tensor;
    }
}
