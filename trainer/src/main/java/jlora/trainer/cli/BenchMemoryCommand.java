package jlora.trainer.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.trainer.bench.BenchReport;
import jlora.trainer.bench.MemorySuite;
import jlora.trainer.bench.MemorySuiteJson;
import jlora.trainer.bench.MemorySuitePage;
import jlora.trainer.bench.MemorySuiteTable;
import jlora.trainer.config.RunConfig;
import jlora.trainer.report.ThroughputPage;

import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

import java.nio.file.Path;
import java.util.Optional;

@Command(
        name = "memory",
        description =
                "Bytes per second of every kernel against a measured copy, and planned memory"
                        + " against what is counted, line by line.",
        mixinStandardHelpOptions = true)
final class BenchMemoryCommand extends Bench {
    @Option(
            names = "--report",
            paramLabel = "FILE",
            description = "Write a page with charts here too, as HTML that needs nothing else.")
    private Optional<Path> report = Optional.empty();

    @Override
    ObjectNode measure(Backend backend, RunConfig config, DType dtype, BenchReport header) {
        MemorySuite suite = MemorySuite.measure(backend, config, dtype);
        print(MemorySuiteTable.of(suite));
        report.ifPresent(path -> ThroughputPage.write(MemorySuitePage.of(suite), path));
        return MemorySuiteJson.of(suite);
    }
}
