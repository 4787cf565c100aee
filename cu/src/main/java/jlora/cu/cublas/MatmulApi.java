package jlora.cu.cublas;

import java.util.List;
import java.util.Optional;

/**
 * Matrix products by a library of NVIDIA's: D = alpha · op(A) · op(B) (+ D) (+ bias). bf16, FP8 and
 * f32 matrices are summed in f32, and f32 ones are not rounded first. Only algorithms that give the
 * same bits in every run are offered. One thread makes all calls.
 */
public interface MatmulApi extends AutoCloseable {
    /**
     * The library and its version in one word, such as {@code cublasLt-130101}: what the codes of
     * algorithms belong to.
     */
    String version();

    /**
     * Algorithms for a shape, the one that the library thinks fastest first; none where the library
     * has none, which does not happen for {@linkplain MatmulShape#aligned aligned} shapes.
     *
     * @param most how many at most
     */
    List<MatmulAlgorithm> algorithms(MatmulShape shape, int most);

    /**
     * Makes a product ready to run; empty where the algorithm is not one for this shape, library
     * and device, or needs more workspace than there is.
     */
    Optional<PreparedMatmul> prepare(MatmulShape shape, MatmulAlgorithm algorithm);

    @Override
    void close();
}
