package jlora.runtime.backend.cpu;

import jlora.runtime.backend.cpu.Products.Operand;
import jlora.runtime.backend.cpu.Products.Product;
import jlora.runtime.tensor.Tensor;

import java.util.Optional;

/**
 * Matrix products of tensors by all threads of a pool: the result is cut into a grid of as many
 * parts as threads, by shape alone, so the same number of threads gives the same bits.
 */
final class PooledProducts {
    /** Operations that make a part worth its hand-over to another thread. */
    private static final double GRAIN = 5e5;

    /** Parts end at multiples of these: whole tiles, and no cache line of a result shared. */
    private static final int ROW_UNIT = 4;

    private static final int COL_UNIT = 32;

    private final CpuPool pool;
    private final Products products;

    PooledProducts(CpuPool pool, Products products) {
        this.pool = pool;
        this.products = products;
    }

    /** One factor: a tensor, used transposed or as it is. */
    record Factor(Tensor tensor, boolean transposed) {
        static Factor plain(Tensor tensor) {
            return new Factor(tensor, false);
        }

        static Factor transposed(Tensor tensor) {
            return new Factor(tensor, true);
        }

        private long rows() {
            return transposed ? tensor.cols() : tensor.rows();
        }

        private long cols() {
            return transposed ? tensor.rows() : tensor.cols();
        }

        /** The operand that starts at a row and column of the factor. */
        private Operand at(long row, long col) {
            return operand(tensor, transposed ? col : row, transposed ? row : col, transposed);
        }
    }

    /** c = a·b (+ bias on every row). */
    void multiply(Tensor c, Factor a, Factor b, Optional<Tensor> bias) {
        multiply(c, a, b, bias, 1f, false);
    }

    /** c = alpha·a·b (+ c). */
    void multiply(Tensor c, Factor a, Factor b, float alpha, boolean accumulate) {
        multiply(c, a, b, Optional.empty(), alpha, accumulate);
    }

    private void multiply(
            Tensor c, Factor a, Factor b, Optional<Tensor> bias, float alpha, boolean accumulate) {
        check(c, a, b, bias);
        int m = Math.toIntExact(c.rows());
        int n = Math.toIntExact(c.cols());
        int k = Math.toIntExact(a.cols());
        Grid grid = Grid.of(m, n, k, pool.threads());
        pool.tasks(
                grid.parts(),
                (part, task) -> {
                    int row = grid.row(task / grid.across);
                    int col = grid.col(task % grid.across);
                    int rows = grid.row(task / grid.across + 1) - row;
                    int cols = grid.col(task % grid.across + 1) - col;
                    products.multiply(
                            new Product(
                                    rows,
                                    cols,
                                    k,
                                    alpha,
                                    a.tensor.dtype(),
                                    a.at(row, 0),
                                    b.at(0, col),
                                    bias.map(t -> operand(t, 0, col, false)),
                                    accumulate,
                                    c.dtype(),
                                    operand(c, row, col, false),
                                    true));
                });
    }

    private static Operand operand(Tensor tensor, long row, long col, boolean transposed) {
        long offset = tensor.byteOffset(row) + col * tensor.dtype().bytes();
        long leading = tensor.rows() > 1 ? tensor.stride() : Math.max(1, tensor.cols());
        return new Operand(tensor.segment(), offset, leading, transposed);
    }

    private static void check(Tensor c, Factor a, Factor b, Optional<Tensor> bias) {
        boolean shapes =
                a.rows() == c.rows()
                        && a.cols() == b.rows()
                        && b.cols() == c.cols()
                        && (bias.isEmpty() || bias.get().cols() == c.cols());
        boolean types =
                a.tensor.dtype() == b.tensor.dtype()
                        && (bias.isEmpty() || bias.get().dtype() == a.tensor.dtype());
        if (!shapes || !types) {
            throw new IllegalArgumentException(
                    "cannot multiply "
                            + a.tensor.describe()
                            + (a.transposed ? " (transposed)" : "")
                            + " by "
                            + b.tensor.describe()
                            + (b.transposed ? " (transposed)" : "")
                            + " into "
                            + c.describe()
                            + bias.map(t -> " with bias " + t.describe()).orElse(""));
        }
    }

    /** The cut of an m by n result into {@code down} by {@code across} parts. */
    private record Grid(int m, int n, int down, int across) {
        /**
         * The grid whose largest part costs least: its multiplications, and reading its operands.
         */
        static Grid of(int m, int n, int k, int threads) {
            int parts = Math.clamp((long) (2.0 * m * n * k / GRAIN), 1, threads);
            Grid best = new Grid(m, n, 1, 1);
            double least = Double.MAX_VALUE;
            for (int down = 1; down <= parts; down++) {
                if (parts % down == 0) {
                    Grid grid = new Grid(m, n, down, parts / down);
                    if (grid.cost() < least) {
                        least = grid.cost();
                        best = grid;
                    }
                }
            }
            return best;
        }

        int parts() {
            return down * across;
        }

        int row(int part) {
            return cut(m, ROW_UNIT, part, down);
        }

        int col(int part) {
            return cut(n, COL_UNIT, part, across);
        }

        private static int cut(int size, int unit, int part, int parts) {
            long units = (size + unit - 1) / unit;
            return (int) Math.min(size, units * part / parts * unit);
        }

        /** Per step of the depth; a vector takes 16 products, an operand's element about one. */
        private double cost() {
            double rows = up(m, ROW_UNIT, down);
            double cols = up(n, COL_UNIT, across);
            return rows * cols / 16 + rows + cols;
        }

        private static double up(int size, int unit, int parts) {
            int units = (size + unit - 1) / unit;
            return (units + parts - 1) / parts * unit;
        }
    }
}
