package jlora.cu.driver;

/**
 * Blocks and threads of a launch.
 *
 * @param sharedBytes dynamic shared memory of a block
 */
public record LaunchShape(
        int gridX, int gridY, int gridZ, int blockX, int blockY, int blockZ, int sharedBytes) {
    /** The grid's limit in y and z; x goes to 2³¹ − 1. */
    public static final int MAX_GRID_YZ = 65_535;

    private static final int MAX_THREADS = 1024;

    public LaunchShape {
        long threads = (long) blockX * blockY * blockZ;
        boolean grid = gridX > 0 && gridY > 0 && gridZ > 0;
        boolean block = blockX > 0 && blockY > 0 && blockZ > 0 && threads <= MAX_THREADS;
        if (!grid || !block || sharedBytes < 0 || gridY > MAX_GRID_YZ || gridZ > MAX_GRID_YZ) {
            throw new IllegalArgumentException(
                    "launch of "
                            + gridX
                            + "x"
                            + gridY
                            + "x"
                            + gridZ
                            + " blocks of "
                            + blockX
                            + "x"
                            + blockY
                            + "x"
                            + blockZ
                            + " threads with "
                            + sharedBytes
                            + " bytes of shared memory");
        }
    }

    public static LaunchShape of(long blocks, int threads) {
        return of(blocks, 1, 1, threads);
    }

    public static LaunchShape of(long gridX, long gridY, long gridZ, int threads) {
        return new LaunchShape(
                Math.toIntExact(gridX),
                Math.toIntExact(gridY),
                Math.toIntExact(gridZ),
                threads,
                1,
                1,
                0);
    }

    public LaunchShape shared(long bytes) {
        return new LaunchShape(gridX, gridY, gridZ, blockX, blockY, blockZ, Math.toIntExact(bytes));
    }
}
