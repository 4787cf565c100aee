package jlora.trainer.bench;

import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.adapter.lora.LoraMerge;
import jlora.runtime.adapter.lora.MergeCost;
import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.Corrections;

import java.util.Arrays;

/**
 * Merging an adapter into all of its weights, taking it off again to the bit, and switching to
 * another one that lies in device memory; milliseconds, medians.
 *
 * @param mergeMilliseconds by the kernels, records included
 * @param mergeAndProveMilliseconds as a user calls it: with fingerprints of weights and borders
 * @param cost of the records
 */
public record MergeBench(
        double mergeMilliseconds,
        double unmergeMilliseconds,
        double mergeAndProveMilliseconds,
        double unmergeAndProveMilliseconds,
        double switchMilliseconds,
        MergeCost cost) {
    private static final int ROUNDS = 5;

    /** Over a run with one adapter, whose factors are drawn at random. */
    public static MergeBench of(BenchRun run) {
        Backend backend = run.backend();
        AdapterWork work = new AdapterWork(run);
        LoraAdapter adapter = work.adapter();
        double[] merge = new double[ROUNDS];
        double[] unmerge = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            Corrections[] made = new Corrections[1];
            merge[i] = backend.milliseconds(() -> made[0] = work.merge());
            unmerge[i] = backend.milliseconds(() -> work.unmerge(made[0]));
            made[0].close();
        }
        LoraMerge[] merged = new LoraMerge[1];
        MergeCost[] cost = new MergeCost[1];
        double[] proved = new double[ROUNDS];
        double[] unproved = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            proved[i] =
                    wall(
                            backend,
                            () ->
                                    merged[0] =
                                            LoraMerge.merge(
                                                    backend, run.job().model().model(), adapter));
            cost[0] = merged[0].cost();
            unproved[i] = wall(backend, merged[0]::unmerge);
            merged[0].close();
        }
        work.switchAdapter();
        return new MergeBench(
                median(i -> merge[i]),
                median(i -> unmerge[i]),
                median(i -> proved[i]),
                median(i -> unproved[i]),
                median(i -> backend.milliseconds(work::switchAdapter)),
                cost[0]);
    }

    private static double wall(Backend backend, Runnable work) {
        backend.synchronize();
        long start = System.nanoTime();
        work.run();
        backend.synchronize();
        return (System.nanoTime() - start) / 1e6;
    }

    private interface Round {
        double at(int i);
    }

    private static double median(Round round) {
        double[] values = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
            values[i] = round.at(i);
        }
        Arrays.sort(values);
        return values[ROUNDS / 2];
    }
}
