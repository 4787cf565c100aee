package jlora.runtime.arch;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** Contracts and their implementations agree in name, so that an op is found by its stem. */
class OpStemsTest {
    private static final Path RUNTIME =
            SourceTree.find().root().resolve("runtime/src/main/java/jlora/runtime");

    @ParameterizedTest
    @CsvSource({
        "backend/cpu/CpuBackend.java, backend/cpu, Cpu",
        "backend/cpu/CpuBackend.java, backend/cpu/reference, Reference",
        "backend/cuda/CudaBackend.java, backend/cuda, Cuda",
    })
    void everyContractHasItsImplementation(String backend, String folder, String prefix)
            throws IOException {
        assumeTrue(Files.exists(RUNTIME.resolve(backend)), backend + " does not exist yet");
        List<String> stems = OpStems.of(files(RUNTIME.resolve("kernel")));
        assertFalse(stems.isEmpty(), "no contracts found in kernel/");
        assertEquals(
                List.of(),
                OpStems.missing(stems, prefix, files(RUNTIME.resolve(folder))),
                "missing in " + folder);
    }

    @Test
    void missingImplementationIsNamed() {
        List<String> stems =
                OpStems.of(Set.of("RopeKernel.java", "GeluKernel.java", "AttentionShape.java"));
        assertEquals(List.of("Gelu", "Rope"), stems);
        assertEquals(
                List.of("CpuRope.java"),
                OpStems.missing(stems, "Cpu", Set.of("CpuGelu.java", "CpuPool.java")));
    }

    private static Set<String> files(Path folder) throws IOException {
        if (!Files.isDirectory(folder)) {
            return Set.of();
        }
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).collect(Collectors.toSet());
        }
    }
}
