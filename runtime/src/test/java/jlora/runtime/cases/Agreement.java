package jlora.runtime.cases;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.reference.Elements;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.BitSet;
import java.util.List;

/**
 * Holds a kernel against the reference, pass by pass on the same inputs: results within tolerance,
 * nothing written but the results, the same bits from a second run, and no trace in them of what
 * the memory held before.
 */
public final class Agreement {
    private Agreement() {}

    /** Throws an {@link AssertionError} that names case, pass, tensor and element. */
    public static <K> void check(OpCase<K> opCase, K kernel, Backend memory, K reference) {
        Problem<K> problem = opCase.problem();
        try (Backend host = new ReferenceBackend();
                Placed<K> expected = new Placed<>(problem, host, Placed.POISON_NAN);
                Placed<K> first = new Placed<>(problem, memory, Placed.POISON_NAN);
                Placed<K> second = new Placed<>(problem, memory, Placed.POISON_FINITE)) {
            for (Pass<K> pass : problem.passes()) {
                String where = problem.name() + ", " + pass.name();
                expected.call(reference, pass);
                expected.download();
                runGuarded(first, kernel, pass, where);
                runGuarded(second, kernel, pass, where);
                for (Slot slot : pass.writes()) {
                    compare(expected.mirror(slot), first.mirror(slot), slot, where);
                    sameBits(first.mirror(slot), second.mirror(slot), where);
                }
                // From here on from the same values, so that a later pass is judged by its own
                // error alone.
                for (Placed<K> placed : List.of(first, second)) {
                    placed.copyFrom(expected, pass.writes());
                    placed.upload();
                }
            }
        }
    }

    private static <K> void runGuarded(Placed<K> placed, K kernel, Pass<K> pass, String where) {
        List<byte[]> before = placed.snapshot();
        placed.call(kernel, pass);
        placed.download();
        List<byte[]> after = placed.snapshot();
        for (int buffer = 0; buffer < before.size(); buffer++) {
            BitSet allowed = new BitSet();
            allow(allowed, pass.writes(), buffer);
            allow(allowed, pass.scratch(), buffer);
            byte[] was = before.get(buffer);
            byte[] is = after.get(buffer);
            for (int at = 0; at < was.length; at++) {
                if (was[at] != is[at] && !allowed.get(at)) {
                    throw new AssertionError(
                            where
                                    + ": changed byte "
                                    + at
                                    + " of "
                                    + was.length
                                    + " of the storage of "
                                    + nameOf(placed.problem(), buffer)
                                    + ", which is outside everything that the pass may write");
                }
            }
        }
    }

    private static void allow(BitSet allowed, List<Slot> slots, int buffer) {
        for (Slot slot : slots) {
            int bytes = slot.dtype().bytes();
            for (long r = 0; slot.buffer() == buffer && r < slot.rows(); r++) {
                int from = Math.toIntExact((slot.offset() + r * slot.stride()) * bytes);
                allowed.set(from, from + Math.toIntExact(slot.cols() * bytes));
            }
        }
    }

    private static String nameOf(Problem<?> problem, int buffer) {
        return problem.slots().stream()
                .filter(slot -> slot.buffer() == buffer)
                .map(
                        slot ->
                                slot.name()
                                        + " (offset "
                                        + slot.offset()
                                        + ", stride "
                                        + slot.stride()
                                        + ")")
                .toList()
                .toString();
    }

    private static void compare(Tensor expected, Tensor actual, Slot slot, String where) {
        Tolerance tolerance = slot.tolerance().orElseThrow();
        double scale = scale(expected);
        for (long r = 0; r < slot.rows(); r++) {
            for (long c = 0; c < slot.cols(); c++) {
                double want = Elements.get(expected, r, c);
                double got = Elements.get(actual, r, c);
                if (Double.isNaN(want) && !tolerance.undefined()) {
                    throw new AssertionError(
                            where
                                    + ": the reference has no value for "
                                    + slot.name()
                                    + "["
                                    + r
                                    + ","
                                    + c
                                    + "]");
                }
                double limit = tolerance.limit(want, scale);
                boolean equal =
                        Double.isFinite(want)
                                ? Math.abs(want - got) <= limit
                                : Double.compare(want, got) == 0;
                if (!equal) {
                    throw new AssertionError(
                            where
                                    + ": "
                                    + slot.name()
                                    + "["
                                    + r
                                    + ","
                                    + c
                                    + "] of ["
                                    + slot.rows()
                                    + ","
                                    + slot.cols()
                                    + "] is "
                                    + got
                                    + ", expected "
                                    + want
                                    + " within "
                                    + limit
                                    + " ("
                                    + tolerance.reason()
                                    + ")");
                }
            }
        }
    }

    /** Root mean square of the finite, non-zero elements. */
    static double scale(Tensor tensor) {
        double squares = 0;
        long count = 0;
        for (long r = 0; r < tensor.rows(); r++) {
            for (long c = 0; c < tensor.cols(); c++) {
                double value = Elements.get(tensor, r, c);
                if (value != 0 && Double.isFinite(value)) {
                    squares += value * value;
                    count++;
                }
            }
        }
        return count == 0 ? 0 : Math.sqrt(squares / count);
    }

    private static void sameBits(Tensor first, Tensor second, String where) {
        for (long r = 0; r < first.rows(); r++) {
            for (long c = 0; c < first.cols(); c++) {
                double a = Elements.get(first, r, c);
                double b = Elements.get(second, r, c);
                boolean same = first.dtype() == DType.I32 ? a == b : Double.compare(a, b) == 0;
                if (!same) {
                    throw new AssertionError(
                            where
                                    + ": a second run over memory with other contents gave "
                                    + first.name()
                                    + "["
                                    + r
                                    + ","
                                    + c
                                    + "] = "
                                    + b
                                    + " after "
                                    + a);
                }
            }
        }
    }
}
