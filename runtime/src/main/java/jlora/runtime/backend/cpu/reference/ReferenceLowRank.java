package jlora.runtime.backend.cpu.reference;

import jlora.runtime.kernel.LowRankBorder;
import jlora.runtime.kernel.LowRankBorder.Block;
import jlora.runtime.kernel.LowRankBorder.Target;
import jlora.runtime.kernel.LowRankKernel;
import jlora.runtime.kernel.Philox;
import jlora.runtime.tensor.Grad;
import jlora.runtime.tensor.Tensor;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/** {@link LowRankKernel} by definition. */
public final class ReferenceLowRank implements LowRankKernel {
    @Override
    public void forward(
            Tensor u, Tensor x, LowRankBorder border, Optional<Tensor> adapterOfRow, Tensor rng) {
        clear(u);
        for (Block block : border.blocks()) {
            for (long t = 0; t < x.rows(); t++) {
                if (!applies(block, adapterOfRow, t)) {
                    continue;
                }
                double[] kept = kept(x, t, block, rng);
                for (int j = 0; j < block.rank(); j++) {
                    double sum = 0;
                    for (int k = 0; k < kept.length; k++) {
                        sum += kept[k] == 0 ? 0 : kept[k] * Elements.get(x, t, k) * a(block, j, k);
                    }
                    Elements.set(u, t, block.rankFrom() + j, sum);
                }
            }
        }
    }

    @Override
    public void backwardOutput(
            Tensor du,
            List<Target> dB,
            Tensor dy,
            Tensor u,
            LowRankBorder border,
            Optional<Tensor> adapterOfRow) {
        clear(du);
        for (Block block : border.blocks()) {
            for (long t = 0; t < dy.rows(); t++) {
                for (int j = 0; j < block.rank() && applies(block, adapterOfRow, t); j++) {
                    double sum = 0;
                    for (long n = 0; n < block.out(); n++) {
                        sum +=
                                Elements.get(dy, t, block.outFrom() + n)
                                        * Elements.get(block.b(), n, j);
                    }
                    Elements.set(du, t, block.rankFrom() + j, sum);
                }
            }
        }
        for (Target target : dB) {
            Block block = target.block();
            for (long n = 0; n < block.out(); n++) {
                for (int j = 0; j < block.rank(); j++) {
                    double sum = 0;
                    for (long t = 0; t < dy.rows(); t++) {
                        sum +=
                                Elements.get(dy, t, block.outFrom() + n)
                                        * Elements.get(u, t, block.rankFrom() + j);
                    }
                    Elements.put(target.grad(), n, j, block.scale() * sum);
                }
            }
        }
    }

    @Override
    public void backwardA(List<Target> dA, Tensor du, Tensor x, Tensor rng) {
        for (Target target : dA) {
            Block block = target.block();
            double[][] sums = new double[(int) block.rank()][(int) x.cols()];
            for (long t = 0; t < x.rows(); t++) {
                double[] kept = kept(x, t, block, rng);
                for (int j = 0; j < sums.length; j++) {
                    for (int k = 0; k < kept.length; k++) {
                        if (kept[k] != 0) {
                            double input = kept[k] * Elements.get(x, t, k);
                            sums[j][k] += Elements.get(du, t, block.rankFrom() + j) * input;
                        }
                    }
                }
            }
            for (int j = 0; j < sums.length; j++) {
                for (int k = 0; k < sums[j].length; k++) {
                    Elements.put(target.grad(), j, k, sums[j][k]);
                }
            }
        }
    }

    @Override
    public void backwardInputDropout(Tensor dx, Tensor du, LowRankBorder border, Tensor rng) {
        for (long t = 0; t < dx.rows(); t++) {
            double[] sums = new double[(int) dx.cols()];
            for (Block block : border.blocks()) {
                double[] kept = kept(dx, t, block, rng);
                for (int k = 0; k < kept.length; k++) {
                    for (int j = 0; j < block.rank() && kept[k] != 0; j++) {
                        double gradient = Elements.get(du, t, block.rankFrom() + j);
                        sums[k] += kept[k] * gradient * a(block, j, k);
                    }
                }
            }
            for (int k = 0; k < sums.length; k++) {
                Elements.put(Grad.accumulate(dx), t, k, sums[k]);
            }
        }
    }

    private static double a(Block block, int j, int k) {
        return Elements.get(block.a(), j, k);
    }

    private static boolean applies(Block block, Optional<Tensor> adapterOfRow, long t) {
        return adapterOfRow.isEmpty()
                || Elements.getInt(adapterOfRow.get(), 0, t) == block.adapter();
    }

    /** What each element of row t of an input like {@code x} is multiplied by. */
    private static double[] kept(Tensor x, long t, Block block, Tensor rng) {
        double[] kept = new double[(int) x.cols()];
        Arrays.fill(kept, 1);
        if (block.dropout() > 0) {
            long threshold = Philox.dropThreshold(block.dropout());
            int[] words = new int[Philox.WORDS];
            for (int k = 0; k < kept.length; k++) {
                long element = t * x.cols() + k;
                Philox.dropoutWords(
                        words,
                        0,
                        Elements.getInt(rng, 0, 0),
                        Elements.getInt(rng, 0, 1),
                        element / 4,
                        block.stream(),
                        Elements.getInt(rng, 0, 2));
                boolean keeps = Philox.keeps(words[(int) (element % 4)], threshold);
                kept[k] = keeps ? 1 / (1 - (double) block.dropout()) : 0;
            }
        }
        return kept;
    }

    private static void clear(Tensor u) {
        for (long t = 0; t < u.rows(); t++) {
            for (long c = 0; c < u.cols(); c++) {
                Elements.set(u, t, c, 0);
            }
        }
    }
}
