package jlora.runtime.backend.cuda;

import jlora.cu.driver.LaunchShape;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;

import java.util.List;
import java.util.Optional;

/**
 * How a norm's kernels cover rows (native-kernels, common/norm.cuh): each row is held in registers,
 * by a warp when it is short and by a block when it is long.
 *
 * @param suffix the ending of the kernels' names
 * @param team threads that share a row
 * @param threads of a block
 */
record NormRows(String suffix, int team, int threads) {
    private static final int WARP = 32;
    private static final int MOST_THREADS = 512;

    /** Elements that a thread holds, of a row in the usual case and of a very long one. */
    private static final int FEW = 16;

    private static final int MANY = 32;

    /** Warps, and so rows, of a block when each row has a warp. */
    private static final int SHORT_ROWS = 4;

    /** Threads that a multiprocessor holds while they also hold a row of parameter gradients. */
    private static final int RESIDENT_THREADS = 768;

    /** The longest row: what the threads of a block can hold. */
    static final long MOST_COLS = (long) MANY * MOST_THREADS;

    /**
     * For rows of tensors of one type; absent ones do not count.
     *
     * @param summed whether threads also hold the gradients of the norm's parameters
     */
    static NormRows of(String op, boolean summed, Tensor x, List<Optional<Tensor>> others) {
        long cols = x.cols();
        if (cols > MOST_COLS) {
            throw new IllegalArgumentException(
                    op + " of " + x.describe() + ": rows have at most " + MOST_COLS + " columns");
        }
        Tensor[] present = others.stream().flatMap(Optional::stream).toArray(Tensor[]::new);
        for (Tensor other : present) {
            if (other.dtype() != x.dtype() || other.cols() != cols) {
                throw new IllegalArgumentException(
                        op + ": " + x.describe() + " and " + other.describe() + " differ");
            }
        }
        boolean aligned = CudaKernels.aligned(x) && CudaKernels.aligned(present);
        // A warp holds 512 or 1024 elements; longer rows have a block, of few elements per thread
        // while those suffice: more threads have more loads under way, and with gradients beside
        // many elements registers run out.
        boolean longest = cols > (long) FEW * MOST_THREADS;
        boolean manyInWarp = !summed && cols > (long) FEW * WARP && cols <= (long) MANY * WARP;
        boolean few = !longest && !manyInWarp;
        int held = aligned && few ? FEW : MANY;
        int team = Math.toIntExact(Math.ceilDiv(Math.ceilDiv(cols, (long) held), WARP) * WARP);
        return new NormRows(
                suffix(x.dtype(), aligned, held), team, team == WARP ? WARP * SHORT_ROWS : team);
    }

    private static String suffix(DType dtype, boolean aligned, int held) {
        return CudaKernels.suffix(dtype) + (aligned ? "_" + held : "_scalar");
    }

    private int rowsPerBlock() {
        return threads / team;
    }

    /** A team for every row. */
    LaunchShape perRow(long rows) {
        return LaunchShape.of(Math.ceilDiv(rows, (long) rowsPerBlock()), threads);
    }

    /**
     * Teams that go over several rows each, and sum parameter gradients meanwhile: as many as the
     * device holds, as scratch memory has rows for, and as there are rows.
     */
    LaunchShape persistent(CudaKernels kernels, long rows, long bytesPerTeam) {
        long resident =
                (long) kernels.device().multiprocessors() * Math.max(1, RESIDENT_THREADS / threads);
        long held = CudaKernels.SCRATCH_BYTES / bytesPerTeam / rowsPerBlock();
        long needed = Math.ceilDiv(rows, (long) rowsPerBlock());
        return LaunchShape.of(Math.min(needed, Math.min(resident, held)), threads);
    }

    /** Teams of a launch: rows of partial sums. */
    long teams(LaunchShape shape) {
        return (long) shape.gridX() * rowsPerBlock();
    }

    /** The pass that adds partial rows up. */
    static LaunchShape finish(long cols) {
        return LaunchShape.of(Math.ceilDiv(cols, (long) WARP), WARP * WARP);
    }
}
