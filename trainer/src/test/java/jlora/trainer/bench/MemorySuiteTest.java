package jlora.trainer.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.plan.Step;
import jlora.runtime.tensor.DType;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.Device;
import jlora.trainer.job.PlanJob;
import jlora.trainer.report.MemoryComparison;
import jlora.trainer.report.MemoryItem;
import jlora.trainer.report.ThroughputPage;

import org.junit.jupiter.api.Test;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;

import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

import javax.xml.parsers.DocumentBuilderFactory;

/** What the memory-throughput suite says of numbers that are given to it. */
class MemorySuiteTest {
    private static final String HOSTILE = "</text><script>x</script>\"'&|\u0000";

    /** 40 GB/s, 200 GFLOP/s, a cache of 32 MiB. */
    private static final Ceilings CEILINGS = new Ceilings(200e9, 40e9, 2048, 256L << 20, 32L << 20);

    private static final List<KernelRow> STEP =
            List.of(
                    new KernelRow("embedding", "8 x 4 ← 99 x 4", 1, 900_000, 900_000, 0, 0.01),
                    new KernelRow("rms_norm", "8 x 4", 9, 80_000_000, 80_000_000, 160, 2.5),
                    new KernelRow(
                            "linear", "8 x 4 ← 4 x 4", 7, 4_000_000, 4_000_000, 8_000_000_000L, 50),
                    new KernelRow("four_bit.dequantise", "4 x 4", 7, 90_000_000, 90_000_000, 0, 9),
                    new KernelRow("adamw", "1 x 32", 1, 64_000_000, 36_000_000, 112, 2));

    private static final List<KernelRow> OUTSIDE =
            List.of(
                    new KernelRow(
                            "merge", "7 matrices", 0, 300_000_000, 150_000_000, 4_800_000_000L, 30),
                    new KernelRow("switch", "14 factors", 0, 2_000_000, 2_000_000, 0, 0.02));

    private static MemorySuite suite(String name, List<KernelRow> step) {
        List<MemoryItem> parts =
                List.of(new MemoryItem(name + " W", 1000), new MemoryItem("borders", 24));
        return new MemorySuite(
                "cpu: " + name,
                DType.F32,
                name,
                8,
                CEILINGS,
                500,
                step,
                OUTSIDE,
                1.5,
                parts,
                new MemoryComparison(
                        "operating system",
                        List.of(
                                new MemoryComparison.Line(
                                        "weights", 1024, 1024, OptionalLong.of(4096), parts),
                                new MemoryComparison.Line(
                                        "Java, since", 0, 0, OptionalLong.empty(), List.of())),
                        OptionalLong.of(123_456),
                        OptionalLong.empty()));
    }

    private static Document parse(String html) throws Exception {
        return DocumentBuilderFactory.newInstance()
                .newDocumentBuilder()
                .parse(new InputSource(new StringReader(html.replace("<!DOCTYPE html>", ""))));
    }

    private static List<String> ops(JsonNode rows) {
        return StreamSupport.stream(rows.spliterator(), false)
                .map(row -> row.get("op").textValue())
                .toList();
    }

    @Test
    void jsonHoldsEveryRowInTheOrderOfTheStep() {
        ObjectNode json = MemorySuiteJson.of(suite("tiny", STEP));
        assertEquals(STEP.stream().map(KernelRow::op).toList(), ops(json.get("kernels")));
        assertEquals(OUTSIDE.stream().map(KernelRow::op).toList(), ops(json.get("outside")));
        double share = 0;
        for (JsonNode row : json.get("kernels")) {
            share += row.get("share_of_step").doubleValue();
        }
        assertEquals(1, share, 1e-9);
        JsonNode norm = json.get("kernels").get(1);
        assertEquals(32e9, norm.get("bytes_per_second").doubleValue(), 1);
        assertEquals(0.8, norm.get("of_copy").doubleValue(), 1e-9);
        assertEquals("memory", norm.get("limited_by").textValue());
        assertEquals(22.5, norm.get("milliseconds_per_step").doubleValue(), 1e-9);
        assertEquals(9 * 0.5, norm.get("lost_milliseconds_per_step").doubleValue(), 1e-9);
        JsonNode embedding = json.get("kernels").get(0);
        assertTrue(embedding.get("of_copy").isNull(), "90 GB/s out of a cache");
        assertTrue(embedding.get("in_cache").booleanValue());
        JsonNode linear = json.get("kernels").get(2);
        assertEquals("arithmetic", linear.get("limited_by").textValue());
        assertEquals(0.8, linear.get("of_product").doubleValue(), 1e-9);
        JsonNode memory = json.get("memory");
        assertEquals(1024, memory.get("planned_bytes").longValue());
        assertEquals(123_456, memory.get("counted_bytes").longValue());
        assertEquals(2, memory.get("lines").get(0).get("parts").size());
        assertTrue(memory.get("lines").get(1).get("counted_bytes").isNull());
    }

    @Test
    void tablesBeginWithWhatAStepLosesMost() {
        MemorySuite suite = suite("tiny", STEP);
        // dequantise loses 7 · (9 − 2.25) ms, the norm 9 · (2.5 − 2), AdamW 2 − 1.6.
        assertEquals(
                List.of("four_bit.dequantise", "rms_norm", "adamw", "embedding"),
                suite.memoryRows().stream().map(KernelRow::op).toList());
        assertEquals(
                List.of("linear"), suite.arithmeticRows().stream().map(KernelRow::op).toList());
        String text = MemorySuiteTable.of(suite);
        List<String> lines = text.lines().toList();
        for (KernelRow row : Stream.concat(STEP.stream(), OUTSIDE.stream()).toList()) {
            assertEquals(
                    1, lines.stream().filter(l -> l.startsWith("| `" + row.op() + "`")).count());
        }
        assertTrue(
                text.contains("| `rms_norm` | 8 x 4 | 9 | 80.0 | 2.500 | 32.0 | 80% | 5.14% |"),
                text);
        assertTrue(text.contains("| 0.9 | 0.0100 | 90.0 | in cache |"), text);
        assertTrue(text.contains("160.0 GFLOP/s | 80% of the product |"), text);
        assertTrue(text.contains("load average 1.5"), text);
        assertTrue(text.contains("| **total** | 1024 | 1024 | 123456 |"), text);
    }

    @Test
    void pageHoldsEveryRowAsBarAndInATable() throws Exception {
        MemorySuite suite = suite("tiny", STEP);
        String html = ThroughputPage.html(MemorySuitePage.of(suite));
        Document page = parse(html);
        String text = page.getDocumentElement().getTextContent();
        List<String> bars = withClass(page, "g", "row");
        assertEquals(STEP.size() + OUTSIDE.size(), bars.size());
        for (KernelRow row : Stream.concat(STEP.stream(), OUTSIDE.stream()).toList()) {
            String name = row.op() + "  " + row.shape();
            assertEquals(1, bars.stream().filter(b -> b.contains(name)).count(), name);
            assertTrue(
                    withElement(page, "tr").stream()
                            .anyMatch(t -> t.startsWith(row.op() + "\n" + row.shape() + "\n")),
                    row.op());
        }
        assertTrue(text.contains("123,456"), "counted bytes");
        assertFalse(html.contains("<script") || html.contains("href") || html.contains("url("));
        assertEquals(1, html.split("https?://", -1).length - 1, "the XML name space alone");
        assertFalse(html.contains("NaN") || html.contains("Infinity"));
        if (System.getProperty("jlora.sample-report") != null) {
            Files.writeString(Path.of(System.getProperty("jlora.sample-report")), html);
        }
    }

    /** Bars end at the edge of their chart, whatever they stand for. */
    @Test
    void barsStayInsideTheirCharts() throws Exception {
        List<KernelRow> rows = new ArrayList<>(STEP);
        rows.add(new KernelRow("fast", "1 x 1", 1, 1 << 20, 1 << 20, 0, 1e-6));
        rows.add(new KernelRow("none", "1 x 1", 1, 0, 0, 0, 0)); // 0 / 0
        Document page = parse(ThroughputPage.html(MemorySuitePage.of(suite("tiny", rows))));
        NodeList rects = page.getElementsByTagName("rect");
        int bars = 0;
        for (int i = 0; i < rects.getLength(); i++) {
            Element rect = (Element) rects.item(i);
            if (rect.getAttribute("class").startsWith("bar")) {
                double width = Double.parseDouble(rect.getAttribute("width"));
                assertTrue(width >= 0 && width <= 445, () -> "width " + width);
                bars++;
            }
        }
        assertEquals(rows.size() + OUTSIDE.size(), bars);
    }

    @Test
    void hostileNamesAreShownAndNeverMarkup() throws Exception {
        List<KernelRow> rows = new ArrayList<>(STEP);
        rows.add(new KernelRow(HOSTILE, HOSTILE, 1, 80_000_000, 80_000_000, 0, 4));
        MemorySuite suite = suite(HOSTILE, rows);
        Document page = parse(ThroughputPage.html(MemorySuitePage.of(suite)));
        assertEquals(0, page.getElementsByTagName("script").getLength());
        String shown = HOSTILE.replace('\u0000', '\ufffd');
        assertTrue(page.getDocumentElement().getTextContent().contains(shown + "  " + shown));
        ObjectNode json = MemorySuiteJson.of(suite);
        assertEquals(HOSTILE, json.get("kernels").get(STEP.size()).get("op").textValue());
        // A bar in a name would end a Markdown cell.
        assertEquals(
                1,
                MemorySuiteTable.of(suite)
                        .lines()
                        .filter(
                                l ->
                                        l.startsWith("| `</text>")
                                                && l.split("(?<!\\\\)\\|").length == 10)
                        .count());
    }

    /** A Llama of two layers, 2 x 16 tokens: bytes of its kernels as its shapes give them. */
    @Test
    void bytesOfAStepAreThoseOfItsShapes() {
        RunConfig config =
                RunConfig.load(
                        Optional.empty(),
                        List.of(
                                "model_name_or_path=src/test/resources/parity/bases/llama_gqa",
                                "random_init=true",
                                "dtype=bfloat16",
                                "lora_r=4",
                                "lora_target_modules=all-linear",
                                "gradient_checkpointing=none",
                                "per_device_train_batch_size=2",
                                "max_length=16"));
        List<Step> steps = new PlanJob(config, Device.cpu()).plan().microBatch().steps();
        long tokens = 32;
        long hidden = 32;
        long inner = 56;
        long bf16 = 2;
        // [gate | up] in, their product out
        assertEquals(bf16 * tokens * 3 * inner, first(steps, "swiglu").bytes());
        // q of 4 heads, k and v of 2 of size 8, all rotated or copied; the table f32 [T,8]
        long fused = (4 + 2 + 2) * 8;
        assertEquals(bf16 * tokens * 2 * fused + 4 * tokens * 8, first(steps, "rope").bytes());
        // ids, one row of the table for each, and that written: not the table of 131 rows
        assertEquals(4 * tokens + bf16 * tokens * 2 * hidden, first(steps, "embedding").bytes());
        // x in and out, weight, and f32 1/rms of each row
        assertEquals(
                bf16 * (2 * tokens * hidden + hidden) + 4 * tokens,
                first(steps, "rms_norm").bytes());
    }

    private static Step first(List<Step> steps, String op) {
        return steps.stream().filter(s -> s.label().equals(op)).findFirst().orElseThrow();
    }

    private static List<String> withElement(Document page, String name) {
        NodeList found = page.getElementsByTagName(name);
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < found.getLength(); i++) {
            texts.add(found.item(i).getTextContent());
        }
        return texts;
    }

    private static List<String> withClass(Document page, String name, String style) {
        NodeList found = page.getElementsByTagName(name);
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < found.getLength(); i++) {
            if (((Element) found.item(i)).getAttribute("class").equals(style)) {
                texts.add(found.item(i).getTextContent());
            }
        }
        return texts;
    }
}
