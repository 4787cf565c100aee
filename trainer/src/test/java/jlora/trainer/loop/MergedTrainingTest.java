package jlora.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.adapter.lora.LoraMerge;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.reference.ReferenceBackend;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.Device;
import jlora.trainer.job.TrainJob;
import jlora.trainer.metrics.MetricsHistory;

import org.junit.jupiter.api.Test;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** An adapter that is merged into the weights stays what it is until it is taken off. */
class MergedTrainingTest {
    private static final Path CASE = Path.of("src/test/resources/parity/llama_gqa_qv");

    @Test
    void mergedAdapterIsNeitherTrainedNorReplacedAndAfterwardsTrainsAsIfNothingHadBeen() {
        MetricsHistory undisturbed = new MetricsHistory();
        try (Backend backend = new ReferenceBackend();
                TrainJob job = job()) {
            job.load(backend);
            job.train(undisturbed);
        }
        try (Backend backend = new ReferenceBackend();
                TrainJob job = job()) {
            Session session = job.load(backend);
            LoraAdapter adapter = session.blueprint().adapters().getFirst();
            AdapterValues values = session.adapter(adapter);
            try (LoraMerge merge = LoraMerge.merge(backend, session.model(), adapter)) {
                MetricsHistory none = new MetricsHistory();
                refused("trained", () -> job.train(none));
                refused("switched", () -> session.setAdapter(adapter, values));
                assertEquals(List.of(), none.steps());
                merge.unmerge();
            }
            session.setAdapter(adapter, values);
            MetricsHistory history = new MetricsHistory();
            job.train(history);
            assertEquals(losses(undisturbed), losses(history));
        }
    }

    private static TrainJob job() {
        RunConfig config =
                RunConfig.load(Optional.of(CASE.resolve("run.yaml")), List.of("max_steps=2"));
        return new TrainJob(config, Device.cpu().limitedTo(1L << 30), 1);
    }

    private static void refused(String what, Runnable action) {
        String message = assertThrows(IllegalStateException.class, action::run).getMessage();
        assertTrue(message.contains("merged") && message.contains(what), message);
    }

    private static List<Double> losses(MetricsHistory history) {
        return history.steps().stream().map(s -> s.loss()).toList();
    }
}
