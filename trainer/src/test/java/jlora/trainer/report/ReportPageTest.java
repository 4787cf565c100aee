package jlora.trainer.report;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.trainer.config.RunConfig;
import jlora.trainer.config.Setting;
import jlora.trainer.metrics.EvalMetrics;
import jlora.trainer.metrics.StepMetrics;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;

import java.io.IOException;
import java.io.StringReader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

import javax.xml.parsers.DocumentBuilderFactory;

class ReportPageTest {
    @TempDir Path folder;

    /** A run with noise, a warmup, a spike in the gradient and one loss that is not a number. */
    static ReportData sample(int steps) {
        Random random = new Random(7);
        List<StepMetrics> metrics = new ArrayList<>();
        List<EvalMetrics> evaluations = new ArrayList<>();
        for (int i = 1; i <= steps; i++) {
            double done = i / (double) steps;
            double loss = 1.4 + 2.2 * Math.exp(-6 * done) + 0.12 * random.nextGaussian();
            double norm = (0.6 + 0.4 * random.nextDouble()) * (i == steps / 2 ? 60 : 1);
            double rate = 2e-4 * Math.min(i / (0.1 * steps), (1 - done) / 0.9);
            metrics.add(
                    new StepMetrics(
                            i,
                            3 * done,
                            i == steps / 3 ? Double.NaN : loss,
                            norm,
                            rate,
                            4000 + random.nextInt(96),
                            0.35 + 0.03 * random.nextDouble()));
            if (i % Math.max(1, steps / 8) == 0) {
                evaluations.add(
                        new EvalMetrics(i, 3 * done, 1.5 + 2.0 * Math.exp(-6 * done), 20_000, 2.1));
            }
        }
        Map<String, String> facts = new LinkedHashMap<>();
        facts.put("model", "models/stories260k (LlamaForCausalLM, 260,032 parameters)");
        facts.put("trained", "40,960 parameters in 20 adapters, r 8");
        facts.put("device", "CPU, 2 threads, float32, oneDNN 3.9");
        facts.put("started", "2026-01-15 10:22:31 UTC");
        facts.put("duration", "1 min 12 s");
        facts.put("java", "25.0.3");
        return new ReportData(
                "stories260k on E2E <r=8 & all-linear>",
                "LoRA on the CPU, 3 epochs, seed 42",
                metrics,
                evaluations,
                List.of(
                        new MemoryItem("weights, f32", 1_040_128),
                        new MemoryItem("adapters", 163_840),
                        new MemoryItem("optimizer", 327_680),
                        new MemoryItem("saved activations", 6_291_456),
                        new MemoryItem("live layer", 2_097_152),
                        new MemoryItem("workspace", 65_536),
                        new MemoryItem("logits chunk", 524_288)),
                Optional.of(measured()),
                RunConfig.load(
                                Optional.empty(),
                                List.of("lora_r=8", "output_dir=out/<b>", "max_length=256"))
                        .settings(),
                facts);
    }

    private static MemoryComparison measured() {
        return new MemoryComparison(
                "operating system",
                List.of(
                        new MemoryComparison.Line(
                                "weights",
                                1_203_968,
                                1_203_968,
                                OptionalLong.of(1_204_224),
                                List.of(
                                        new MemoryItem("weights, f32", 1_040_128),
                                        new MemoryItem("adapters", 163_840)))),
                OptionalLong.of(98_566_144),
                OptionalLong.of(99_999_744));
    }

    @Test
    void planAndCountAreOneLine() {
        assertEquals(
                "memory: 1.15 MiB planned, 1.15 MiB allocated; the operating system counts 94.00"
                        + " MiB, 92.85 MiB of it beside these, at most 95.37 MiB",
                measured().text());
    }

    private static Document parse(String html) throws Exception {
        return DocumentBuilderFactory.newInstance()
                .newDocumentBuilder()
                .parse(new InputSource(new StringReader(html.replace("<!DOCTYPE html>", ""))));
    }

    @Test
    void pageIsWellFormedAndHoldsEverything() throws Exception {
        ReportData data = sample(120);
        String html = ReportPage.html(data);
        Document page = parse(html);
        assertEquals(
                "stories260k on E2E <r=8 & all-linear> · jlora",
                page.getElementsByTagName("title").item(0).getTextContent());
        assertEquals(5, page.getElementsByTagName("svg").getLength());
        String text = page.getDocumentElement().getTextContent();
        for (MemoryItem item : data.memory()) {
            assertTrue(text.contains(item.name() + "\n"), item.name());
            assertTrue(
                    text.contains(String.format(java.util.Locale.ROOT, "%,d", item.bytes())),
                    item.name());
        }
        for (Setting setting : data.settings()) {
            assertTrue(
                    text.contains(setting.key()) && text.contains(setting.value()), setting.key());
        }
        data.facts().forEach((name, value) -> assertTrue(text.contains(value), name));
        assertTrue(text.contains("10,510,080"), "total bytes");
        assertTrue(text.contains("counted by the operating system"), text);
        for (String counted : List.of("1,204,224", "98,566,144", "99,999,744")) {
            assertTrue(text.contains(counted), counted);
        }
        if (System.getProperty("jlora.sample-report") != null) {
            Files.writeString(Path.of(System.getProperty("jlora.sample-report")), html);
        }
    }

    @Test
    void pageNeedsNothingFromOutside() {
        String html = ReportPage.html(sample(30));
        assertFalse(html.contains("<script"));
        assertFalse(html.contains("url("));
        Matcher links = Pattern.compile("(src|href|@import)").matcher(html);
        assertFalse(links.find(), "a link to something outside the page");
        assertEquals(
                1, html.split("https?://", -1).length - 1, "only the XML name space is an address");
    }

    @Test
    void hostileTextIsShownAndNeverMarkup() throws Exception {
        String hostile = "</td><script>alert('x')</script>\"&\u0000\u001b\ud800\uffff\u0085é😀";
        ReportData data =
                new ReportData(
                        hostile,
                        hostile,
                        List.of(),
                        List.of(),
                        List.of(new MemoryItem(hostile, 1)),
                        Optional.of(
                                new MemoryComparison(
                                        hostile,
                                        List.of(
                                                new MemoryComparison.Line(
                                                        hostile,
                                                        1,
                                                        1,
                                                        OptionalLong.empty(),
                                                        List.of(new MemoryItem(hostile, 1)))),
                                        OptionalLong.of(2),
                                        OptionalLong.empty())),
                        List.of(new Setting(hostile, hostile, true)),
                        Map.of(hostile, hostile));
        String html = ReportPage.html(data);
        assertEquals(0, parse(html).getElementsByTagName("script").getLength());
        assertTrue(
                parse(html)
                        .getElementsByTagName("h1")
                        .item(0)
                        .getTextContent()
                        .endsWith("\"&\ufffd\ufffd\ufffd\ufffd\ufffdé😀"));
    }

    static IntStream runs() {
        return IntStream.of(0, 1, 2, 3, 19, 20, 399, 401, 5000);
    }

    /** Whatever the length of a run, every point lies in its chart and the page stays small. */
    @ParameterizedTest
    @MethodSource("runs")
    void pointsStayInsideTheirCharts(int steps) throws Exception {
        String html = ReportPage.html(sample(steps));
        NodeList paths = parse(html).getElementsByTagName("path");
        assertEquals(steps == 0, paths.getLength() == 0);
        for (int i = 0; i < paths.getLength(); i++) {
            Matcher point =
                    Pattern.compile("[ML](\\S+) ([^ML]+)")
                            .matcher(((Element) paths.item(i)).getAttribute("d"));
            int points = 0;
            while (point.find()) {
                double x = Double.parseDouble(point.group(1));
                double y = Double.parseDouble(point.group(2));
                assertTrue(x >= 58 && x <= 548 && y >= 12 && y <= 216, () -> x + ", " + y);
                points++;
            }
            assertTrue(points >= 1 && points <= 400, points + " points");
        }
        assertTrue(html.length() < 250_000, () -> html.length() + " characters");
        assertFalse(html.contains("NaN") || html.contains("Infinity"));
    }

    @Test
    void aSpikeSurvivesTheThinningAndAGapStaysOpen() throws Exception {
        double[] steps = IntStream.rangeClosed(1, 4000).mapToDouble(i -> i).toArray();
        double[] values =
                IntStream.rangeClosed(1, 4000).mapToDouble(i -> i == 1234 ? 10 : 1).toArray();
        String svg =
                new LineChart(
                                "x",
                                Axis.Scale.FITTED,
                                List.of(
                                        new LineChart.Series(
                                                "a", "s0", false, false, steps, values)))
                        .svg();
        assertTrue(Pattern.compile("L\\S+ 12L").matcher(svg).find(), "the spike reaches the top");
        double[] gap = {1, Double.NaN, 2};
        String broken =
                new LineChart(
                                "x",
                                Axis.Scale.FITTED,
                                List.of(
                                        new LineChart.Series(
                                                "a",
                                                "s0",
                                                false,
                                                false,
                                                new double[] {1, 2, 3},
                                                gap)))
                        .svg();
        assertTrue(Pattern.compile("d=\"M[^L]+M[^L]+\"").matcher(broken).find(), broken);
        assertTrue(broken.contains("a not finite"), broken);
    }

    static LongStream seeds() {
        return LongStream.range(0, 100);
    }

    @ParameterizedTest
    @MethodSource("seeds")
    void axesCoverTheirValuesWithFewRoundTicks(long seed) {
        Random random = new Random(seed);
        double scale = Math.pow(10, random.nextInt(30) - 15);
        double shift = random.nextBoolean() ? 0 : 5 * random.nextGaussian() * scale;
        double[] values =
                random.doubles(1 + random.nextInt(20)).map(v -> v * scale + shift).toArray();
        Axis axis =
                Axis.around(
                        values, 5, random.nextBoolean() ? Axis.Scale.FITTED : Axis.Scale.FROM_ZERO);
        for (double v : values) {
            assertTrue(
                    axis.position(v) >= -1e-9 && axis.position(v) <= 1 + 1e-9,
                    () -> v + " in " + axis);
        }
        assertTrue(axis.ticks().size() >= 2 && axis.ticks().size() <= 9, axis::toString);
        assertEquals(
                axis.ticks().size(), axis.labels().stream().distinct().count(), axis::toString);
    }

    @ParameterizedTest
    @CsvSource({
        "0,0",
        "1,1",
        "0.5,0.5",
        "1234,1234",
        "12345,12.35k",
        "2500000,2.5M",
        "0.0002,2e-4",
        "0.000123456,1.235e-4",
        "-0.25,-0.25",
        "1000,1000",
        "100000,100k",
        "0.001,0.001",
        "1e-8,1e-8",
        "2.345678,2.346"
    })
    void labelsAreShort(double value, String label) {
        assertEquals(label, Axis.label(value));
    }

    @Test
    void writingReplacesTheFile() throws IOException {
        Path file = folder.resolve("report.html");
        ReportPage.write(sample(2), file);
        ReportPage.write(sample(3), file);
        assertEquals(ReportPage.html(sample(3)), Files.readString(file));
    }

    @ParameterizedTest
    @CsvSource({"0,0.0 s", "59.94,59.9 s", "60,1 min 00 s", "3661,1 h 01 min"})
    void durationsReadWell(double seconds, String text) {
        assertEquals(text, ReportPage.duration(seconds));
    }
}
