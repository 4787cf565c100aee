package jlora.bench.op;

import jlora.bench.Program;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;

import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.results.format.ResultFormatType;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import java.util.stream.Collectors;

/** Times the ops' speed cases with JMH and prints what each pass reaches. */
@Command(
        name = "op",
        description = "Times single ops on the CPU: the speed cases of the runtime's op tests.")
public final class OpBenchMain implements Runnable {
    @Mixin private Program.Help help;

    @Parameters(
            arity = "0..1",
            paramLabel = "FILTER",
            description =
                    "Regular expression; only points whose name contains a match, such as"
                            + " 'linear|rope' or 'BF16.*forward'.")
    private Optional<String> filter = Optional.empty();

    @Option(names = "--list", description = "List the points and end.")
    private boolean list;

    @Option(
            names = "--threads",
            paramLabel = "N",
            description = "Threads of the backend (default: all processors).")
    private int threads = Runtime.getRuntime().availableProcessors();

    @Option(
            names = "--products",
            paramLabel = "NAME",
            defaultValue = "auto",
            description = "Matrix products: auto, onednn or vector (default ${DEFAULT-VALUE}).")
    private String products;

    @Option(
            names = "--seconds",
            paramLabel = "S",
            defaultValue = "0.5",
            description =
                    "Length of one iteration; 3 warm up and 5 count (default ${DEFAULT-VALUE}).")
    private double seconds;

    @Option(names = "--json", paramLabel = "FILE", description = "Write JMH's results here too.")
    private Optional<Path> json = Optional.empty();

    /** Runs the command line to its exit code. */
    public static void main(String[] arguments) {
        System.exit(Program.run(new OpBenchMain(), arguments));
    }

    @Override
    public void run() {
        List<OpPoint> points = OpPoint.all().stream().filter(chosen()).toList();
        if (points.isEmpty()) {
            throw JloraException.usage(
                    "no op benchmark matches '"
                            + filter.orElseThrow()
                            + "'; --list shows all of them.");
        }
        if (list) {
            points.forEach(point -> System.out.println(point.id() + "  " + point.detail()));
            return;
        }
        String device;
        try (Backend backend =
                new CpuBackend(new CpuOptions(threads, ProductLibrary.of(products)))) {
            device = backend.describe();
        }
        print(points, device, results(points));
    }

    private java.util.function.Predicate<OpPoint> chosen() {
        try {
            Pattern pattern = Pattern.compile(filter.orElse(""));
            return point -> pattern.matcher(point.detail() + " " + point.id()).find();
        } catch (PatternSyntaxException e) {
            throw JloraException.usage(
                    "FILTER is not a regular expression: " + e.getDescription() + ".");
        }
    }

    private Collection<RunResult> results(List<OpPoint> points) {
        TimeValue length = TimeValue.microseconds(Math.max(1, Math.round(seconds * 1e6)));
        ChainedOptionsBuilder options =
                new OptionsBuilder()
                        .include(Pattern.quote(OpBench.class.getName()) + "\\.")
                        .param("point", points.stream().map(OpPoint::id).toArray(String[]::new))
                        .param("threads", Integer.toString(threads))
                        .param("products", products)
                        .forks(1)
                        .warmupIterations(3)
                        .warmupTime(length)
                        .measurementIterations(5)
                        .measurementTime(length);
        json.ifPresent(path -> options.resultFormat(ResultFormatType.JSON).result(path.toString()));
        try {
            return new Runner(options.build()).run();
        } catch (RunnerException e) {
            throw new IllegalStateException(e);
        }
    }

    private static void print(List<OpPoint> points, String device, Collection<RunResult> results) {
        Map<String, OpPoint> byId =
                points.stream().collect(Collectors.toMap(OpPoint::id, Function.identity()));
        System.out.printf("%n%s%n%n", device);
        System.out.println("| op | µs | ± µs | GFLOP/s | GB/s | case |\n|---|--:|--:|--:|--:|---|");
        for (RunResult result : results) {
            OpPoint point = byId.get(result.getParams().getParam("point"));
            double micros = result.getPrimaryResult().getScore();
            System.out.printf(
                    Locale.ROOT,
                    "| `%s` | %.1f | %.1f | %.1f | %.1f | %s |%n",
                    point.id(),
                    micros,
                    result.getPrimaryResult().getScoreError(),
                    point.flops() / micros / 1e3,
                    point.bytes() / micros / 1e3,
                    point.detail());
        }
    }
}
