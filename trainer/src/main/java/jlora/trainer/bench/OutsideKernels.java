package jlora.trainer.bench;

import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.kernel.PublishKernel;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.CheckpointTensor;
import jlora.runtime.weight.HeldRows;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;

/**
 * Kernels that no step of a training run calls: merging an adapter into all of its weights, taking
 * it off to the bit, the fingerprints that prove it, switching to another adapter, and drawing
 * random weights. Their rows have no calls in a step.
 */
final class OutsideKernels {
    private static final int ROUNDS = 5;

    private final Backend backend;
    private final BenchRun run;
    private final List<KernelRow> rows = new ArrayList<>();

    private OutsideKernels(BenchRun run) {
        this.run = run;
        this.backend = run.backend();
    }

    /**
     * Times them over a run's own weights, which hold what they held afterwards or random ones.
     * Adapters are not merged into weights that are whole only while a plan runs.
     */
    static List<KernelRow> rows(BenchRun run) {
        OutsideKernels bench = new OutsideKernels(run);
        if (AdapterWork.possible(run)) {
            bench.adapter(new AdapterWork(run));
        }
        bench.randomFill();
        return bench.rows;
    }

    private void adapter(AdapterWork work) {
        double[] merge = new double[ROUNDS];
        double[] unmerge = new double[ROUNDS];
        long record = 0;
        for (int i = -1; i < ROUNDS; i++) { // the first round is not counted
            Corrections[] made = new Corrections[1];
            double on = backend.milliseconds(() -> made[0] = work.merge());
            double off = backend.milliseconds(() -> work.unmerge(made[0]));
            record = made[0].bytes();
            made[0].close();
            if (i >= 0) {
                merge[i] = on;
                unmerge[i] = off;
            }
        }
        List<Tensor> weights = work.parts().stream().map(MergeKernel.Part::w).toList();
        long all = weights.stream().mapToLong(OutsideKernels::bytes).sum();
        long factors =
                work.parts().stream().mapToLong(part -> bytes(part.a()) + bytes(part.b())).sum();
        long flops = 0;
        for (MergeKernel.Part part : work.parts()) {
            flops += 2 * part.w().elements() * part.a().rows();
        }
        String shape = weights.size() + " matrices";
        long moved = 2 * all + factors + record;
        long touched = all + factors + record;
        add("merge", shape, moved, touched, flops, median(merge));
        add("unmerge", shape, moved, touched, flops, median(unmerge));
        double prove =
                KernelBench.median(backend, () -> backend.kernels().merge().fingerprints(weights));
        add("merge.fingerprint", shape, all, all, 0, prove);
        switching(work);
    }

    private void switching(AdapterWork work) {
        long bytes = 0;
        for (PublishKernel.Copy copy : work.copies()) {
            bytes += bytes(copy.from()) + bytes(copy.to());
        }
        double milliseconds = KernelBench.median(backend, work::switchAdapter);
        add("switch", work.copies().size() + " factors", bytes, bytes, 0, milliseconds);
    }

    private void randomFill() {
        Tensor largest =
                run.job().model().model().weights().checkpoint().stream()
                        .filter(tensor -> tensor.held() instanceof HeldRows)
                        .map(CheckpointTensor::target)
                        .filter(tensor -> backend.asynchronous() != tensor.storage().inHostMemory())
                        .max(Comparator.comparingLong(Tensor::elements))
                        .orElseThrow();
        double deviation = run.job().model().model().config().initializerRange();
        double milliseconds =
                KernelBench.median(
                        backend,
                        () -> backend.kernels().randomFill().normal(largest, 0, 1, 0, deviation));
        String shape = largest.rows() + " x " + largest.cols();
        add("random_fill", shape, bytes(largest), bytes(largest), 0, milliseconds);
    }

    private void add(
            String op, String shape, long bytes, long touched, long flops, double milliseconds) {
        rows.add(new KernelRow(op, shape, 0, bytes, touched, flops, milliseconds));
    }

    private static long bytes(Tensor t) {
        return t.elements() * t.dtype().bytes();
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }
}
