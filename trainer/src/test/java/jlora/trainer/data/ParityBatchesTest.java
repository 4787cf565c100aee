package jlora.trainer.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** The recorded Transformers runs count the same labels in every step as the schedule does. */
class ParityBatchesTest {
    static List<Path> cases() throws Exception {
        Path parity = Path.of(ParityBatchesTest.class.getResource("/parity").toURI());
        try (Stream<Path> folders = Files.list(parity)) {
            return folders.filter(f -> Files.exists(f.resolve("run.yaml"))).sorted().toList();
        }
    }

    @ParameterizedTest
    @MethodSource("cases")
    void stepsCountTheLabelsThatTransformersCounted(Path folder) throws IOException {
        Map<?, ?> run =
                (Map<?, ?>)
                        new Load(LoadSettings.builder().build())
                                .loadFromString(Files.readString(folder.resolve("run.yaml")));
        JsonNode expected = new ObjectMapper().readTree(folder.resolve("expected.json").toFile());
        Examples examples =
                DatasetLoader.load(
                                List.of(new DatasetSpec(folder.resolve("train.jsonl"), "tokens")),
                                new EncodeOptions(Optional.empty(), 1 << 20, 4096, true),
                                2)
                        .examples();
        var schedule =
                new BatchSchedule(
                        examples,
                        new BatchOptions(
                                (int) run.get("per_device_train_batch_size"),
                                (int) run.get("gradient_accumulation_steps"),
                                false,
                                4096,
                                (boolean) run.get("shuffle"),
                                0));
        var position = DataPosition.START;
        assertTrue(expected.path("steps").size() > 10);
        for (JsonNode recorded : expected.path("steps")) {
            StepBatches step = schedule.step(position);
            assertEquals(
                    recorded.path("labels").intValue(),
                    step.trainedTokens(),
                    "step " + recorded.path("step"));
            position = step.next();
        }
    }
}
