package jlora.runtime.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.adapter.lora.LoraMerge;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.model.Model;
import jlora.runtime.model.TinyModels;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.weight.CheckpointTensor;
import jlora.runtime.weight.HostValues;
import jlora.runtime.weight.ParameterSet;
import jlora.runtime.weight.RandomInit;
import jlora.runtime.weight.Sharding;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;

/** What ranks hold of a model, read from a file or drawn at random. */
class ShardedWeightsTest {
    private static Backend backend;

    @TempDir Path folder;

    @BeforeAll
    static void open() {
        backend = new CpuBackend(CpuOptions.defaults());
    }

    @AfterAll
    static void close() {
        backend.close();
    }

    private static Model model(String config, int rank, int ranks) {
        Model model = TinyModels.create(config, DType.BF16);
        if (ranks > 1) {
            model.weights().shard(new Sharding(rank, ranks));
        }
        // Borders make rows of another stride than the file's.
        LoraAdapter adapter =
                LoraAdapter.attach(model, "a", 0, TinyModels.allLinear(model, 3, 1, 0));
        model.weights().seal();
        model.weights().bordersFrom(new ParameterSet(adapter.parameters()));
        return model;
    }

    /** Fills all shares and holds each row that is somewhere against the whole model's. */
    private static void check(String config, int ranks, Consumer<Model> fill) {
        Map<String, float[]> whole = new HashMap<>();
        Model one = model(config, 0, 1);
        try (MemoryArena _ = one.weights().allocate(backend)) {
            fill.accept(one);
            for (CheckpointTensor t : one.weights().checkpoint()) {
                whole.put(t.name(), HostValues.read(backend, t.target()));
            }
        }
        Map<String, Long> rows = new HashMap<>();
        for (int rank = 0; rank < ranks; rank++) {
            Model share = model(config, rank, ranks);
            assertEquals(one.weights().elements(), share.weights().elements());
            try (MemoryArena _ = share.weights().allocate(backend)) {
                fill.accept(share);
                for (CheckpointTensor t : share.weights().checkpoint()) {
                    int cols = (int) t.target().cols();
                    int from = (int) t.held().first() * cols;
                    int count = (int) t.target().elements();
                    assertArrayEquals(
                            Arrays.copyOfRange(whole.get(t.name()), from, from + count),
                            HostValues.read(backend, t.target()),
                            t.name() + " on rank " + rank);
                    rows.merge(t.name(), t.target().rows(), Long::sum);
                }
            }
        }
        for (CheckpointTensor t : one.weights().checkpoint()) {
            long held = rows.get(t.name());
            assertTrue(held == t.rows() || held == ranks * t.rows(), t.name() + ": " + held);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3, 7})
    void randomInitialisationDrawsWhatOneProcessDoes(int ranks) {
        for (String config : List.of(TinyModels.LLAMA, TinyModels.GPT2)) {
            check(config, ranks, m -> RandomInit.fill(backend, m.weights(), 0.2, 3));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 3, 7})
    void ranksReadTheirRowsOfACheckpoint(int ranks) throws IOException {
        for (String config : List.of(TinyModels.LLAMA, TinyModels.GPT2)) {
            Files.writeString(folder.resolve("config.json"), config);
            Model source = model(config, 0, 1);
            try (MemoryArena _ = source.weights().allocate(backend)) {
                RandomInit.fill(backend, source.weights(), 0.2, 3);
                ModelWriter.write(folder, folder, source, backend);
            }
            try (HuggingFaceFolder checkpoint = HuggingFaceFolder.open(folder)) {
                check(config, ranks, m -> ModelLoader.load(backend, m, checkpoint));
            }
        }
    }

    @Test
    void whatNeedsWholeWeightsIsRefused() {
        Model model = TinyModels.create(TinyModels.LLAMA, DType.F32);
        model.weights().shard(new Sharding(0, 2));
        LoraAdapter adapter =
                LoraAdapter.attach(model, "a", 0, TinyModels.allLinear(model, 3, 1, 0));
        model.weights().seal();
        refused("merged", () -> LoraMerge.merge(backend, model, adapter));
        refused("switched", () -> adapter.switchTo(backend, Map.of()));
        refused("not trained", () -> model.weights().bordersFrom(new ParameterSet(List.of())));
        refused("frozen", () -> model.weights().parameters());
        refused("written", () -> ModelWriter.write(folder, folder, model, backend));
    }

    private static void refused(String why, Runnable action) {
        JloraException e = assertThrows(JloraException.class, action::run);
        assertEquals(ExitCode.USAGE, e.exitCode());
        assertTrue(e.getMessage().contains(why), e.getMessage());
    }
}
