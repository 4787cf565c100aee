package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.backend.cuda.Emulator;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Commands on a GPU that is not quite as it should be: the program in a process of its own. */
@Tag("emulator")
final class CudaCommandsTest {
    /** What Java itself says of incubating modules and of files that are no libraries. */
    private static final String JVM_WORDS =
            "WARNING: Using incubator.*|.*Server VM warning: .*|It's highly recommended that .*";

    @TempDir private Path folder;
    private RunFolder run;

    @BeforeEach
    void create() throws IOException {
        Emulator.open();
        run = RunFolder.create(Files.createDirectory(folder.resolve("run")));
    }

    private static CommandLineRun jlora(Map<String, String> environment, Object... arguments)
            throws IOException, InterruptedException {
        List<String> command =
                new ArrayList<>(
                        List.of(
                                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                                "--add-modules=jdk.incubator.vector",
                                "--enable-native-access=ALL-UNNAMED",
                                "-XX:TieredStopAtLevel=1",
                                "-cp",
                                System.getProperty("java.class.path"),
                                Main.class.getName()));
        Stream.of(arguments).map(Object::toString).forEach(command::add);
        Path out = Files.createTempFile("jlora", ".out");
        Path err = Files.createTempFile("jlora", ".err");
        ProcessBuilder builder =
                new ProcessBuilder(command)
                        .redirectOutput(out.toFile())
                        .redirectError(err.toFile());
        builder.environment().put("JLORA_LIBRARY_PATH", Emulator.folder("emulator").toString());
        builder.environment().putAll(environment);
        int code = builder.start().waitFor();
        String errors =
                String.join(
                        "\n",
                        Files.readString(err)
                                .lines()
                                .filter(line -> !line.matches(JVM_WORDS))
                                .toList());
        CommandLineRun done = new CommandLineRun(code, Files.readString(out), errors);
        Files.delete(out);
        Files.delete(err);
        return done;
    }

    private CommandLineRun train(Map<String, String> environment, Object... more)
            throws IOException, InterruptedException {
        List<Object> words = new ArrayList<>(List.of("train", "-c", run.config(), "--overwrite"));
        words.addAll(List.of(more));
        return jlora(environment, words.toArray());
    }

    @Test
    void doctorNamesDriverLibrariesAndDevice() throws IOException, InterruptedException {
        CommandLineRun doctor = jlora(Map.of(), "doctor");
        assertEquals(0, doctor.code(), doctor.err());
        for (String part :
                List.of(
                        "libcuda.so.1, called by panama",
                        "libcublasLt.so.13",
                        "jlora emulator, sm_90, ",
                        " for a run")) {
            assertTrue(doctor.out().contains(part), part + " in\n" + doctor.out());
        }
    }

    @Test
    void doctorSaysWhatIsWrongAndSucceeds() throws IOException, InterruptedException {
        Path broken = Files.createDirectory(folder.resolve("broken"));
        Files.writeString(broken.resolve("libcuda.so.1"), "not a library");
        CommandLineRun doctor = jlora(Map.of("JLORA_LIBRARY_PATH", broken.toString()), "doctor");
        assertEquals(0, doctor.code(), doctor.err());
        assertTrue(doctor.out().contains("not usable: " + broken), doctor.out());
        train(Map.of("JLORA_LIBRARY_PATH", broken.toString()), "--device", "cuda")
                .refused(
                        ExitCode.USAGE,
                        "command line: device is cuda, but " + broken,
                        "cannot be opened");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "JLORA_EMULATOR_DEVICES=0|cuda|USAGE|the NVIDIA driver finds no GPU",
                "JLORA_EMULATOR_DRIVER_VERSION=11080|cuda|USAGE|too old: it supports CUDA 11.8",
                "JLORA_EMULATOR_DEVICES=1|cuda:3|USAGE|no device number 3: this machine has one"
                        + " GPU",
                "JLORA_EMULATOR_MEMORY=20000000|cuda|OUT_OF_MEMORY|not enough free memory",
                "JLORA_EMULATOR_MEMORY=700000000|cuda|OUT_OF_MEMORY|even the shortest batch needs",
            })
    void deviceThatCannotBeUsedIsOneSentence(
            String environment, String device, ExitCode exit, String part)
            throws IOException, InterruptedException {
        String[] variable = environment.split("=");
        train(Map.of(variable[0], variable[1]), "--device", device).refused(exit, part);
    }

    @ParameterizedTest
    @ValueSource(strings = {"auto", "cuda", "cuda:0"})
    void trainsOnTheDeviceThatIsThere(String device) throws IOException, InterruptedException {
        CommandLineRun done = train(Map.of(), "--device", device);
        assertEquals("", done.err());
        assertEquals(0, done.code());
        assertTrue(done.out().startsWith("cuda:0: jlora emulator, sm_90"), done.out());
        assertTrue(done.out().contains("weights (bfloat16)"), done.out());
        assertTrue(Files.exists(run.path("out/adapter_model.safetensors")));
    }

    @Tag("cluster")
    @Test
    void trainsThroughJcuda() throws IOException, InterruptedException {
        CommandLineRun done = train(Map.of(), "--device", "cuda", "--cuda_binding", "jcuda");
        assertEquals("", done.err());
        assertEquals(0, done.code());
        assertTrue(Files.exists(run.path("out/adapter_model.safetensors")));
    }

    /** A file that is no library: one that is missing might be found elsewhere on a machine. */
    @Test
    void jcudaWithoutCublas12IsOneSentence() throws IOException, InterruptedException {
        Path driver = Files.createDirectory(folder.resolve("driver"));
        for (String name : List.of("libcuda.so.1", "kernels")) {
            Path there = Emulator.folder("emulator").resolve(name);
            Files.createSymbolicLink(driver.resolve(name), there);
        }
        Files.writeString(driver.resolve("libcublas.so.12"), "not a library");
        Map<String, String> environment = Map.of("JLORA_LIBRARY_PATH", driver.toString());
        train(environment, "--device", "cuda", "--cuda_binding", "jcuda")
                .refused(
                        ExitCode.USAGE,
                        "device is cuda, but JCublas 12.6 needs libcublas.so.12",
                        "cuda_binding: panama");
    }

    @Tag("cluster")
    @Test
    void evaluatesAndGeneratesWithAnAdapterThatWasTrainedThere()
            throws IOException, InterruptedException, URISyntaxException {
        run.withTextModel();
        CommandLineRun trained = train(Map.of(), "--device", "cuda", "--max_steps", "2");
        assertEquals(0, trained.code(), trained.err());
        Object[] words = {"-c", run.config(), "--adapter_name_or_path", run.path("out")};
        List<Object> eval = new ArrayList<>(List.of("eval", "--json", "--device", "cuda"));
        eval.addAll(List.of(words));
        CommandLineRun evaluated = jlora(Map.of(), eval.toArray());
        assertEquals(0, evaluated.code(), evaluated.err());
        assertTrue(evaluated.out().contains("\"eval_loss\""), evaluated.out());
        for (String merged : List.of("", "--merged")) {
            List<Object> generate =
                    new ArrayList<>(
                            List.of("generate", "--prompt", "The cat", "--max-new-tokens", "4"));
            generate.addAll(List.of("--device", "cuda"));
            generate.addAll(List.of(words));
            if (!merged.isEmpty()) {
                generate.add(merged);
            }
            CommandLineRun generated = jlora(Map.of(), generate.toArray());
            assertEquals(0, generated.code(), generated.err());
            assertTrue(generated.out().startsWith("The cat"), generated.out());
        }
    }
}
