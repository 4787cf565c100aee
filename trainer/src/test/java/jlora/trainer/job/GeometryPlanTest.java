package jlora.trainer.job;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.io.HuggingFaceFolder;
import jlora.trainer.config.RunConfig;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.parallel.Execution;
import org.junit.jupiter.api.parallel.ExecutionMode;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** Plans of models far larger than any machine of ours, from config.json alone. */
@Execution(ExecutionMode.CONCURRENT)
class GeometryPlanTest {
    private static final Path GEOMETRIES =
            Path.of("../configs/geometries").toAbsolutePath().normalize();
    private static final long HUGE = 1L << 50;

    static List<String> geometries() throws IOException {
        try (Stream<Path> folders = Files.list(GEOMETRIES)) {
            return folders.map(f -> f.getFileName().toString()).sorted().toList();
        }
    }

    private static PlanJob plan(String geometry, long limit, String... settings) {
        return plan(geometry, limit, 1, settings);
    }

    private static PlanJob plan(String geometry, long limit, int workers, String... settings) {
        List<String> all =
                new ArrayList<>(
                        List.of(
                                "model_name_or_path=" + GEOMETRIES.resolve(geometry),
                                "output_dir=unused",
                                "per_device_train_batch_size=1",
                                "lora_r=16",
                                "lora_target_modules=all-linear"));
        all.addAll(Arrays.asList(settings));
        Device device = new Device("gpu", "any GPU", true, limit, 0, 0, 0);
        return new PlanJob(RunConfig.load(Optional.empty(), all), device, workers);
    }

    private static Map<String, Long> items(PlanJob job) {
        Map<String, Long> items = new HashMap<>();
        job.plan().items().forEach(item -> items.put(item.name(), item.bytes()));
        return items;
    }

    /** Parameters by the papers' formulas. */
    private static long parameters(JsonNode c) {
        if (c.get("model_type").textValue().equals("gpt2")) {
            long hidden = c.get("n_embd").longValue();
            long tables =
                    (c.get("vocab_size").longValue() + c.get("n_positions").longValue()) * hidden;
            return tables
                    + c.get("n_layer").longValue() * (12 * hidden * hidden + 13 * hidden)
                    + 2 * hidden;
        }
        long hidden = c.get("hidden_size").longValue();
        long queries = c.get("num_attention_heads").longValue() * c.get("head_dim").longValue();
        long keys = c.get("num_key_value_heads").longValue() * c.get("head_dim").longValue();
        long layer =
                hidden * (queries + 2 * keys)
                        + queries * hidden
                        + 3 * hidden * c.get("intermediate_size").longValue()
                        + 2 * hidden;
        long tables =
                (c.get("tie_word_embeddings").booleanValue() ? 1 : 2)
                        * c.get("vocab_size").longValue()
                        * hidden;
        return tables + c.get("num_hidden_layers").longValue() * layer + hidden;
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @ParameterizedTest
    @MethodSource("geometries")
    void weightsAreCountedToTheByte(String geometry) {
        ObjectNode config = HuggingFaceFolder.readConfig(GEOMETRIES.resolve(geometry));
        PlanJob job = plan(geometry, HUGE, "max_length=512");
        long parameters = parameters(config);
        assertEquals(parameters, job.model().model().weights().elements());
        // Llama's table of rotary frequencies, f32, takes one granule of the arena.
        long constants = config.get("model_type").textValue().equals("gpt2") ? 0 : 256;
        assertEquals(2 * parameters + constants, items(job).get("weights (bfloat16)"));
        long trained = job.plan().trainedParameters();
        assertEquals(4 * trained, items(job).get("trained parameters (float32)"), 256);
        assertEquals(8 * trained, items(job).get("optimizer moments (float32)"), 512);
        assertTrue(items(job).get("adapters (borders)") >= 2 * trained);
    }

    /**
     * Four bits and a scale for 64 of them: eight bits where they are double quantised, whose own
     * scales are 256 times fewer.
     */
    @Test
    void codesAreCountedToTheByte() {
        Map<String, Long> nested = items(plan("llama-3.1-70b", HUGE, "load_in_4bit=true"));
        Map<String, Long> plain =
                items(
                        plan(
                                "llama-3.1-70b",
                                HUGE,
                                "load_in_4bit=true",
                                "bnb_4bit_use_double_quant=false"));
        long elements = 80 * (8192L * (8192 + 2048) + 8192L * 8192 + 3 * 8192L * 28672);
        assertEquals(elements / 2 + elements / 16, plain.get("layers (nf4)"));
        long blocks = elements / 64;
        long each = 80 * 7 * 256; // a mean for each module
        assertEquals(
                elements / 2 + blocks + blocks / 64 + each,
                nested.get("layers (nf4, double quantised)"));
        long tables = 2 * (2 * 128256L * 8192 + (2 * 80 + 1) * 8192L) + 256;
        assertEquals(tables, nested.get("embeddings, norms, head (bfloat16)"));
        assertEquals(
                elements + 80 * 4 * (10240L + 8192 + 2 * 28672 + 8192),
                items(plan("llama-3.1-70b", HUGE, "weight_dtype=fp8")).get("layers (fp8 by rows)"));
    }

    /** The bounds that the project set itself for one GPU; a hundred thousand tokens may not. */
    @Test
    void quantisedGiantsFitOneGpu() {
        PlanJob llama = plan("llama-3.1-70b", 100L << 30, "load_in_4bit=true", "max_length=4096");
        assertTrue(llama.fits(), llama.table().text());
        for (int length : new int[] {2048, 1024}) {
            PlanJob gpt3 =
                    plan(
                            "gpt3-175b",
                            111L << 30,
                            "load_in_4bit=true",
                            "lora_r=4",
                            "lora_target_modules=c_attn",
                            "max_length=" + length);
            assertTrue(gpt3.fits(), gpt3.table().text());
            assertEquals(18_874_368, gpt3.plan().trainedParameters());
            assertEquals(0, gpt3.plan().hostBytes());
        }
        PlanJob whole = plan("llama-3.1-70b", 100L << 30, "max_length=4096");
        assertFalse(whole.fits());
        assertTrue(whole.advice().contains("load_in_4bit: true"), whole.advice());
    }

    @Test
    void layersInHostMemoryLeaveTheDevice() {
        PlanJob job = plan("llama-3.1-70b", 40L << 30, "offload=host", "max_length=1024");
        assertTrue(job.fits(), job.table().text());
        long elements = 80 * (8192L * (8192 + 2048) + 8192L * 8192 + 3 * 8192L * 28672);
        assertEquals(2 * elements, job.plan().hostBytes(), 0.01 * elements);
        assertEquals(4 * elements, job.plan().fetchedBytesPerStep(), 0.02 * elements);
        OffloadPlan.requireHostMemory(job.plan(), job.plan().hostBytes());
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () -> OffloadPlan.requireHostMemory(job.plan(), 64L << 30));
        assertEquals(ExitCode.OUT_OF_MEMORY, e.exitCode());
        assertTrue(e.getMessage().contains("and this machine has 64.00 GiB left"), e.getMessage());
    }

    /** Processor time of the thread that plans: what the machine does besides does not count. */
    @Execution(ExecutionMode.SAME_THREAD)
    @ParameterizedTest
    @ValueSource(strings = {"none", "auto", "full"})
    void gpt3IsPlannedInTwoSecondsOfProcessorTime(String mode) {
        var threads = ManagementFactory.getThreadMXBean();
        long start = threads.getCurrentThreadCpuTime();
        PlanJob job =
                plan("gpt3-175b", 360L << 30, "gradient_checkpointing=" + mode, "lora_dropout=0.1");
        long nanos = threads.getCurrentThreadCpuTime() - start;
        assertTrue(nanos < 2_000_000_000L, nanos / 1e9 + " s");
        assertEquals(!mode.equals("none"), job.fits());
    }

    /**
     * Llama-3.1-8B, tokens of 2 bytes per element: each layer keeps its two residual sums, q|k|v,
     * the attention's result and gate|up; what norms and SwiGLU make of these is cheap to make
     * again, and kept only without any recompute.
     */
    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void savedActivationsOfLlama8bAreWhatTheLayersKeep() {
        int tokens = 4096;
        double none = saved("none", HUGE, tokens);
        double full = saved("full", HUGE, tokens);
        long withoutRecompute =
                plan("llama-3.1-8b", HUGE, "max_length=" + tokens).plan().totalBytes();
        double cheap = saved("auto", withoutRecompute - 1, tokens);
        long kept = 3 * 4096 + 6144 + 28672;
        assertEquals(32 * 2 * kept, cheap, 0.02 * cheap);
        assertEquals(32 * 2 * (kept + 2 * 4096 + 14336), none, 0.02 * none);
        assertEquals(32 * 2 * 4096, full, 0.02 * full);
    }

    /** Bytes per token. */
    private static double saved(String mode, long limit, int tokens) {
        PlanJob job =
                plan(
                        "llama-3.1-8b",
                        limit,
                        "gradient_checkpointing=" + mode,
                        "max_length=" + tokens);
        return (double) items(job).get("saved activations") / tokens;
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @ParameterizedTest
    @MethodSource("geometries")
    void tableAndJsonSayTheSame(String geometry) {
        PlanJob job = plan(geometry, HUGE, "max_length=512", "gradient_checkpointing=full");
        PlanTable table = new PlanTable(job.model(), job.plan(), Device.of("h200"));
        ObjectNode json = table.json();
        String text = table.text();
        long sum = 0;
        List<String> names = new ArrayList<>();
        int at = 0;
        for (JsonNode item : json.get("memory")) {
            String name = item.get("name").textValue();
            at = text.indexOf("    " + name + " ", at);
            assertTrue(at > 0, () -> name + " is not in its place in\n" + text);
            String line = text.substring(at, text.indexOf('\n', at));
            assertTrue(line.contains(" " + Bytes.text(item.get("bytes").longValue())), line);
            sum += item.get("bytes").longValue();
            names.add(name);
        }
        assertEquals(json.get("total_bytes").longValue(), sum);
        assertTrue(
                names.containsAll(
                        List.of(
                                "weights (bfloat16)",
                                "adapters (borders)",
                                "trained parameters (float32)",
                                "gradients (float32)",
                                "optimizer moments (float32)",
                                "batch inputs",
                                "saved activations",
                                "live layer",
                                "workspace",
                                "logits chunk")),
                names::toString);
        assertTrue(text.contains(Bytes.text(json.get("total_bytes").longValue())));
        assertTrue(text.contains(json.get("recomputed").textValue()));
        assertTrue(text.contains(String.format("%,d", json.get("tokens_per_step").longValue())));
    }

    /** One of N workers: its share of the layers, and what it exchanges with the others. */
    @Execution(ExecutionMode.SAME_THREAD)
    @ParameterizedTest
    @ValueSource(ints = {2, 3, 8})
    void sharesOf70bAreCountedToTheByte(int workers) {
        ObjectNode config = HuggingFaceFolder.readConfig(GEOMETRIES.resolve("llama-3.1-70b"));
        PlanJob job = plan("llama-3.1-70b", HUGE, workers, "max_length=512", "shard_base=true");
        assertEquals(parameters(config), job.model().model().weights().elements());
        long hidden = 8192;
        long[] layer = {10 * hidden / 8, hidden, 2 * 28672, hidden};
        long[] cols = {hidden, hidden, hidden, 28672};
        long share = Math.ceilDiv(128256, workers) * hidden;
        for (int i = 0; i < layer.length; i++) {
            share += 80 * Math.ceilDiv(layer[i], workers) * cols[i];
        }
        Map<String, Long> items = items(job);
        assertEquals(2 * share, items.get("weights (bfloat16), 1/" + workers + " share"));
        long whole = 128256 * hidden + (2 * 80 + 1) * hidden;
        // A share of other than whole granules of the arena leaves gaps behind it.
        long gaps = workers == 3 ? 256 * 4 * 80 : 0;
        assertEquals(2 * whole + 256, items.get("embeddings and norms, whole"), gaps);
        // Two layers of 1.6 GiB, or one with the head.
        long expanded = items.get("expanded layers");
        assertTrue(expanded > 3L << 30 && expanded < 4L << 30, () -> expanded + " bytes");

        ObjectNode json = job.table().json();
        assertEquals(workers, json.get("workers").intValue());
        assertEquals(512L * workers, json.get("tokens_per_global_step").longValue());
        assertEquals(
                4 * job.plan().trainedParameters(),
                json.get("all_reduce_bytes_per_step").longValue());
        // All layers twice, the head once, from the other workers; pads are a little more.
        double received =
                (workers - 1) * 2.0 * (2 * share - Math.ceilDiv(128256, workers) * hidden);
        assertEquals(received, json.get("gather_bytes_per_step").doubleValue(), 0.01 * received);
        assertTrue(
                job.table()
                        .text()
                        .contains(Bytes.text(json.get("gather_bytes_per_step").longValue())));
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void workersThatEachHoldTheBaseExchangeGradientsAlone() {
        PlanJob one = plan("llama-0.5b", HUGE, 1, "max_length=512");
        PlanJob four = plan("llama-0.5b", HUGE, 4, "max_length=512");
        assertEquals(one.plan().totalBytes(), four.plan().totalBytes());
        assertEquals(0, four.table().json().get("gather_bytes_per_step").longValue());
        assertEquals(0, one.table().json().get("all_reduce_bytes_per_step").longValue());
        assertFalse(one.table().text().contains("workers"));
    }

    @Tag("cluster")
    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void adviceNamesTheFewestWorkersThatHoldTheBaseTogether() {
        PlanJob alone = plan("llama-3.1-70b", 50L << 30, "gradient_checkpointing=auto");
        assertTrue(
                alone.advice()
                        .contains(
                                "or what would fit: load_in_4bit: true or shard_base: true on 4"
                                        + " workers."),
                alone.advice());
        assertFalse(plan("llama-3.1-70b", 50L << 30, 2, "shard_base=true").fits());
        assertTrue(plan("llama-3.1-70b", 50L << 30, 4, "shard_base=true").fits());
        PlanJob shorter = plan("llama-3.1-70b", 140L << 30, "max_length=8192");
        assertTrue(
                shorter.advice()
                        .contains(
                                " would fit, and so would load_in_4bit: true or shard_base: true on"
                                        + " 2 workers."),
                shorter.advice());
    }

    @Execution(ExecutionMode.SAME_THREAD)
    @Test
    void aPlanThatCannotFitSaysSo() {
        PlanJob job = plan("llama-3.1-70b", 80L << 30, "gradient_checkpointing=auto");
        assertFalse(job.fits());
        assertTrue(job.advice().contains("even the shortest batch needs"), job.advice());
    }
}
