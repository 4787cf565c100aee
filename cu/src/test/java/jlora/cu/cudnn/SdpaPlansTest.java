package jlora.cu.cudnn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import jlora.cu.CudaLibraries;
import jlora.cu.HeaderCheck;
import jlora.cu.MissingLibraryException;
import jlora.cu.cudnn.AbsentDevice.Model;
import jlora.cu.cudnn.SdpaPlanProbe.Case;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;

/**
 * The attention graphs, planned by the real cuDNN for devices that are not there: its engines take
 * them, compile their kernels to machine code, and take the address of every tensor. Only running
 * them needs a GPU. Skipped without cuDNN or a C compiler.
 */
class SdpaPlansTest {
    private static final long MEBIBYTE = 1 << 20;
    private static final int SEQUENCES = 4;
    private static final int LONGEST = 1024;

    private static final SdpaShape BIDIRECTIONAL = shape(8, 8, 64, false, 0);
    private static final SdpaShape CAUSAL = shape(8, 2, 128, true, 0);
    private static final SdpaShape WINDOW = shape(8, 2, 128, true, 256);
    private static final SdpaShape WIDE = shape(4, 4, 256, true, 0);
    private static final SdpaShape ONE_SEQUENCE = SdpaPlanProbe.shape(1, 4096, 8, 1, 128, true, 0);

    private static final List<SdpaShape> BACKWARD =
            List.of(BIDIRECTIONAL, CAUSAL, WINDOW, ONE_SEQUENCE);

    private static final List<Model> MODELS =
            List.of(Model.A100, Model.RTX_4090, Model.H100, Model.B200, Model.RTX_5090);

    static final List<Case> CASES = cases();

    /** cuDNN's version, and by the name of a case what became of it. */
    private static int version;

    private static Map<String, String> outcomes;

    /** The same for every seventh case, in another process. */
    private static Map<String, String> again;

    private static SdpaShape shape(
            int heads, int kvHeads, int headDim, boolean causal, int window) {
        return SdpaPlanProbe.shape(SEQUENCES, LONGEST, heads, kvHeads, headDim, causal, window);
    }

    private static List<Case> cases() {
        List<Case> cases = new ArrayList<>();
        for (Model model : MODELS) {
            for (SdpaShape shape : List.of(BIDIRECTIONAL, WINDOW)) {
                cases.add(forward(model, shape));
            }
        }
        for (Model model : List.of(Model.H100, Model.B200)) {
            for (SdpaShape shape : BACKWARD) {
                cases.add(backward(model, shape, SdpaPlanProbe.NO_LIMIT));
            }
            cases.add(backward(model, CAUSAL, 32 * MEBIBYTE));
            cases.add(backward(model, CAUSAL, 12 * MEBIBYTE));
            cases.add(backward(model, CAUSAL, MEBIBYTE));
            cases.add(backward(model, WIDE, SdpaPlanProbe.NO_LIMIT));
        }
        cases.add(forward(Model.H100, CAUSAL));
        cases.add(forward(Model.H100, WIDE));
        cases.add(backward(Model.A100, CAUSAL, SdpaPlanProbe.NO_LIMIT));
        cases.add(backward(Model.RTX_5090, CAUSAL, SdpaPlanProbe.NO_LIMIT));
        return List.copyOf(cases);
    }

    private static Case forward(Model model, SdpaShape shape) {
        return new Case(model, shape, false, SdpaPlanProbe.NO_LIMIT);
    }

    private static Case backward(Model model, SdpaShape shape, long limit) {
        return new Case(model, shape, true, limit);
    }

    @BeforeAll
    static void plan(@TempDir Path folder) throws Exception {
        try {
            CudaLibraries.find().cudnn();
        } catch (MissingLibraryException e) {
            abort(e.getMessage());
        }
        Path driver = HeaderCheck.sharedLibrary(folder.resolve("libcuda.so.1"), driver());
        outcomes = probe(driver.getParent(), 0, 1);
        again = probe(driver.getParent(), 0, 7);
    }

    /** As much of a driver as cuDNN looks up and calls before it launches anything. */
    private static String driver() {
        StringBuilder source = new StringBuilder();
        for (String name :
                """
                cuCtxGetCurrent cuCtxGetLimit cuCtxPopCurrent cuCtxPushCurrent cuDeviceGet
                cuDeviceGetCount cuGetErrorName cuGetErrorString cuKernelGetAttribute
                cuKernelSetAttribute cuLaunchCooperativeKernel cuLaunchKernel cuLaunchKernelEx
                cuLibraryLoadFromFile cuLibraryUnload cuLinkAddData cuLinkComplete cuLinkCreate
                cuLinkDestroy cuOccupancyMaxPotentialClusterSize cuStreamGetCtx\
                """
                        .split("\\s+")) {
            source.append("int ").append(name).append("(void) { return 0; }\n");
        }
        return source.append(
                        """
                        int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
                        int cuLibraryLoadData(void **library) { *library = library; return 0; }
                        int cuLibraryGetKernel(void **kernel) { *kernel = kernel; return 0; }
                        """)
                .toString();
    }

    private static Map<String, String> probe(Path driverFolder, int first, int step)
            throws IOException, InterruptedException, URISyntaxException {
        ProcessBuilder builder =
                new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--enable-native-access=ALL-UNNAMED",
                        "-cp",
                        classes(Cudnn.class)
                                + ":"
                                + classes(SdpaPlanProbe.class)
                                + ":"
                                + classes(Test.class),
                        SdpaPlanProbe.class.getName(),
                        Integer.toString(first),
                        Integer.toString(step));
        String others = System.getenv("LD_LIBRARY_PATH");
        builder.environment()
                .put(
                        "LD_LIBRARY_PATH",
                        others == null ? driverFolder.toString() : driverFolder + ":" + others);
        Process process = builder.redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(process.waitFor(1, TimeUnit.MINUTES), "the probe does not end");
        assertEquals(0, process.exitValue(), output);
        Map<String, String> found = new LinkedHashMap<>();
        for (String line : output.lines().toList()) {
            String[] parts = line.split("\\|", 3);
            if (parts[0].equals("cuDNN")) {
                version = Integer.parseInt(parts[1]);
            } else {
                found.put(parts[0], parts[2]);
            }
        }
        return found;
    }

    private static Path classes(Class<?> type) throws URISyntaxException {
        return Path.of(type.getProtectionDomain().getCodeSource().getLocation().toURI());
    }

    private static String outcome(Case planned) {
        String outcome = outcomes.get(Integer.toString(CASES.indexOf(planned)));
        assertTrue(outcome != null, () -> "nothing said of " + planned.name());
        return outcome;
    }

    private record Plan(int passes, long workspaceBytes) {}

    private static Plan planned(Case planned) {
        String outcome = outcome(planned);
        String[] parts = outcome.split("\\|");
        assertEquals(3, parts.length, () -> planned.name() + ": " + outcome);
        return new Plan(Integer.parseInt(parts[0]), Long.parseLong(parts[1]));
    }

    private static void refused(Case planned, String reason) {
        String outcome = outcome(planned);
        assertTrue(
                outcome.startsWith("UnsupportedByCudnnException: ") && outcome.contains(reason),
                () -> planned.name() + ": " + outcome);
    }

    @Test
    void forwardOnEveryArchitecture() {
        for (Model model : MODELS) {
            for (SdpaShape shape : List.of(BIDIRECTIONAL, WINDOW)) {
                assertTrue(planned(forward(model, shape)).workspaceBytes() < MEBIBYTE);
            }
        }
        planned(forward(Model.H100, CAUSAL));
        planned(forward(Model.H100, WIDE));
    }

    @Test
    void backwardInOnePassWhereNothingLimitsIt() {
        for (Model model : List.of(Model.H100, Model.B200)) {
            for (SdpaShape shape : BACKWARD) {
                assertEquals(1, planned(backward(model, shape, SdpaPlanProbe.NO_LIMIT)).passes());
            }
        }
        planned(backward(Model.H100, WIDE, SdpaPlanProbe.NO_LIMIT));
    }

    /** That dS is kept shows that dQ is not summed by atomics. */
    @Test
    void hopperKeepsAllScoresToSumInOrder() {
        long scores = 2L * SEQUENCES * CAUSAL.heads() * LONGEST * LONGEST;
        long bytes = planned(backward(Model.H100, CAUSAL, SdpaPlanProbe.NO_LIMIT)).workspaceBytes();
        assertTrue(bytes >= scores && bytes < 2 * scores, bytes + " bytes");
    }

    @Test
    void passesKeepTheWorkspaceWithinItsLimit() {
        for (Model model : List.of(Model.H100, Model.B200)) {
            Plan bySequence = planned(backward(model, CAUSAL, 32 * MEBIBYTE));
            assertTrue(bySequence.workspaceBytes() <= 32 * MEBIBYTE);
            Plan byHeads = planned(backward(model, CAUSAL, 12 * MEBIBYTE));
            assertTrue(byHeads.workspaceBytes() <= 12 * MEBIBYTE);
            assertTrue(byHeads.passes() > bySequence.passes(), byHeads + " after " + bySequence);
            refused(backward(model, CAUSAL, MEBIBYTE), "the limit is " + MEBIBYTE);
        }
        assertEquals(
                SEQUENCES * CAUSAL.kvHeads(),
                planned(backward(Model.H100, CAUSAL, 12 * MEBIBYTE)).passes());
    }

    @Test
    void refusesWhatWouldNotBeReproducible() {
        refused(backward(Model.A100, CAUSAL, SdpaPlanProbe.NO_LIMIT), "no reproducible");
        refused(backward(Model.RTX_5090, CAUSAL, SdpaPlanProbe.NO_LIMIT), "no reproducible");
        refused(backward(Model.B200, WIDE, SdpaPlanProbe.NO_LIMIT), "at most 128 columns");
    }

    /** Engine, settings and machine code. */
    @Test
    void anotherProcessMakesTheSamePlans() {
        assertNotEquals(Map.of(), again);
        assertEquals(
                outcomes.entrySet().stream()
                        .filter(entry -> again.containsKey(entry.getKey()))
                        .collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue)),
                again);
    }

    @Test
    void versionIsOneThatAttentionNeeds() {
        assertTrue(version >= Cudnn.OLDEST, Cudnn.text(version));
    }
}
