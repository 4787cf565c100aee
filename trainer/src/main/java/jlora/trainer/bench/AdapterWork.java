package jlora.trainer.bench;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.backend.Backend;
import jlora.runtime.kernel.Corrections;
import jlora.runtime.kernel.MergeKernel;
import jlora.runtime.kernel.PublishKernel;
import jlora.trainer.loop.Blueprint;

import java.util.List;

/** What is done with an adapter outside of training: merging, taking it off, switching. */
final class AdapterWork {
    /** σ(BA) that adapters have after training: a correction is needed by a few percent. */
    private static final double DELTA = 1e-3;

    private final Backend backend;
    private final LoraAdapter adapter;
    private final List<MergeKernel.Part> parts;
    private final List<PublishKernel.Copy> copies;

    /** False without an adapter, and where its weights are not in memory as they are. */
    static boolean possible(BenchRun run) {
        Blueprint blueprint = run.job().model().blueprint();
        return !blueprint.adapters().isEmpty()
                && blueprint.model().linears().stream().noneMatch(l -> l.weight().expands());
    }

    /** Draws the factors of a run's one adapter at random. */
    AdapterWork(BenchRun run) {
        if (!possible(run)) {
            throw JloraException.usage(
                    "Adapters are merged into whole weights in the device's own memory; leave"
                            + " load_in_4bit, weight_dtype, offload and shard_base out, and method"
                            + " at lora.");
        }
        this.backend = run.backend();
        this.adapter = run.job().model().blueprint().adapters().getFirst();
        int stream = 0;
        for (LoraAdapter.Module module : adapter.modules()) {
            // A is drawn with σ 1/√r, so that each element of the delta has the σ of sB's.
            double rank = module.border().a().rows();
            backend.kernels()
                    .randomFill()
                    .normal(module.border().a(), 0, 1, stream++, 1 / Math.sqrt(rank));
            backend.kernels().randomFill().normal(module.border().b(), 0, 1, stream++, DELTA);
        }
        this.parts =
                adapter.modules().stream()
                        .map(m -> new MergeKernel.Part(m.weight(), m.border().a(), m.border().b()))
                        .toList();
        this.copies = run.job().model().blueprint().parameters().groups().getFirst().copies();
    }

    LoraAdapter adapter() {
        return adapter;
    }

    /** Each matrix with its factors. */
    List<MergeKernel.Part> parts() {
        return parts;
    }

    /** What a switch copies: f32 factors to borders. */
    List<PublishKernel.Copy> copies() {
        return copies;
    }

    /** Merges; the caller takes the adapter off again and closes the records. */
    Corrections merge() {
        return backend.kernels()
                .merge()
                .merge(parts)
                .orElseThrow(
                        () ->
                                new JloraException(
                                        ExitCode.NUMERICS,
                                        "random weights merged to NaN or infinity"));
    }

    void unmerge(Corrections corrections) {
        backend.kernels().merge().unmerge(parts, corrections);
    }

    void switchAdapter() {
        backend.kernels().publish().publish(copies);
    }
}
