package jlora.runtime.backend.cuda;

import jlora.cu.CudaLibraries;
import jlora.cu.NativeLibrary;
import jlora.cu.driver.CudaContext;

import org.junit.jupiter.api.Assumptions;

import java.io.IOException;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.stream.Stream;

/**
 * The stand-in CUDA libraries that native-kernels builds with g++, and the controls they offer to
 * tests. One per process: the libraries stay loaded.
 */
public final class Emulator {
    private static final int MESSAGE_BYTES = 2048;

    private final CudaLibraries libraries;
    private final MethodHandle setReversed;
    private final MethodHandle fail;
    private final MethodHandle calls;
    private final MethodHandle resetCalls;
    private final MethodHandle checkGuards;
    private final MethodHandle lastFault;
    private final MethodHandle loseDevice;
    private final MethodHandle restoreDevice;
    private final MethodHandle reportXid;
    private final NativeLibrary driver;

    /** A flavour that is there. */
    Emulator(Path folder) {
        libraries = CudaLibraries.in(folder);
        driver = libraries.driver();
        setReversed = handle("set_reversed", null, ValueLayout.JAVA_INT);
        fail =
                handle(
                        "fail",
                        null,
                        ValueLayout.ADDRESS,
                        ValueLayout.JAVA_LONG,
                        ValueLayout.JAVA_INT);
        calls = handle("calls", ValueLayout.JAVA_LONG, ValueLayout.ADDRESS);
        resetCalls = handle("reset_calls", null);
        checkGuards = handle("check_guards", null, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG);
        lastFault = handle("last_fault", null, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG);
        loseDevice = handle("lose_device", null, ValueLayout.JAVA_INT);
        restoreDevice = handle("restore_device", null);
        reportXid = handle("report_xid", null, ValueLayout.JAVA_LONG);
    }

    /** The emulator of this build; the test is skipped, with the reason, where there is none. */
    public static Emulator open() {
        Path folder = folder("emulator");
        Assumptions.assumeTrue(
                Files.exists(folder.resolve("libcuda.so.1")),
                () -> "no emulator: " + built(folder));
        return new Emulator(folder);
    }

    /** Where native-kernels builds a flavour, whether it has been built or not. */
    public static Path folder(String flavour) {
        Path start = Path.of("").toAbsolutePath();
        for (Path root = start; root != null; root = root.getParent()) {
            Path module = root.resolve("native-kernels");
            if (Files.isRegularFile(module.resolve("build-emulator.sh"))) {
                return module.resolve("target").resolve(flavour);
            }
        }
        throw new IllegalStateException("no native-kernels above " + start);
    }

    /** What the build of a flavour says of itself. */
    public static String built(Path folder) {
        return property(folder, "built", "native-kernels/build-emulator.sh has not run");
    }

    static String property(Path folder, String name, String otherwise) {
        Path file = folder.resolve("build.properties");
        Properties properties = new Properties();
        if (!Files.exists(file)) {
            return otherwise;
        }
        try (Reader in = Files.newBufferedReader(file)) {
            properties.load(in);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return properties.getProperty(name, otherwise);
    }

    public CudaLibraries libraries() {
        return libraries;
    }

    /** A context of its own, for what a backend is made of. */
    CudaContext context() {
        return CudaContext.open(CudaDevices.find(libraries, CudaBinding.PANAMA).driver(), 0);
    }

    /** With a cache of its own, which is thrown away. */
    public CudaBackend backend() {
        return backend(cache());
    }

    /** With the cache that another backend may have left something in. */
    public CudaBackend backend(Path cache) {
        return backend(CudaBinding.PANAMA, cache);
    }

    /** Called by either binding. */
    public CudaBackend backend(CudaBinding binding, Path cache) {
        return new CudaBackend(libraries, 0, binding, AttentionEngine.AUTO, cache);
    }

    private static Path cache() {
        try {
            Path folder = Files.createTempDirectory("jlora-cache");
            Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(folder)));
            return folder;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void delete(Path folder) {
        try (Stream<Path> files = Files.list(folder)) {
            for (Path file : files.toList()) {
                Files.deleteIfExists(file);
            }
            Files.deleteIfExists(folder);
        } catch (IOException e) {
            // The folder is in the system's temporary place, which cleans up after us.
        }
    }

    /** Threads and blocks run from the last to the first. */
    public void reverse(boolean reversed) {
        call(setReversed, reversed ? 1 : 0);
    }

    /**
     * Fails the n-th next call (1 is the next) of a driver or library function, or of any function
     * when the name is empty; n = 0 takes it back.
     */
    public void fail(String function, long n, int code) {
        try (Arena arena = Arena.ofConfined()) {
            call(fail, arena.allocateFrom(function), n, code);
        }
    }

    /** Calls since the last reset of one function, or of all when the name is empty. */
    public long calls(String function) {
        try (Arena arena = Arena.ofConfined()) {
            return (long) call(calls, arena.allocateFrom(function));
        }
    }

    public void resetCalls() {
        call(resetCalls);
    }

    /** From now on every call that needs a context gives this code. */
    public void loseDevice(int code) {
        call(loseDevice, code);
    }

    public void restoreDevice() {
        call(restoreDevice);
    }

    /** The device reports an Xid fault to whoever waits for one by NVML. */
    public void reportXid(long xid) {
        call(reportXid, xid);
    }

    public long launches() {
        return live("launches");
    }

    /** What is allocated at this moment; two of these are equal when nothing leaked in between. */
    public Live live() {
        return new Live(
                live("live_allocations"),
                live("live_bytes"),
                live("live_streams"),
                live("live_events"),
                live("live_modules"),
                live("live_graphs"),
                live("live_contexts"),
                live("live_objects"));
    }

    /** What the process holds; objects are the handles and descriptors of cuBLASLt and NVML. */
    public record Live(
            long allocations,
            long bytes,
            long streams,
            long events,
            long modules,
            long graphs,
            long contexts,
            long objects) {}

    /** What overwrote the guard words around device allocations; empty when nothing did. */
    public String brokenGuards() {
        return message(checkGuards);
    }

    /** The kernel, block and thread that lost the device; empty when it is not lost. */
    public String lastFault() {
        return message(lastFault);
    }

    private long live(String what) {
        return (long) call(handle(what, ValueLayout.JAVA_LONG));
    }

    private static String message(MethodHandle handle) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocate(MESSAGE_BYTES);
            call(handle, text, (long) MESSAGE_BYTES);
            return text.getString(0, StandardCharsets.UTF_8);
        }
    }

    @SuppressWarnings("restricted")
    private MethodHandle handle(String name, MemoryLayout result, MemoryLayout... parameters) {
        FunctionDescriptor descriptor =
                result == null
                        ? FunctionDescriptor.ofVoid(parameters)
                        : FunctionDescriptor.of(result, parameters);
        return Linker.nativeLinker()
                .downcallHandle(driver.symbols().findOrThrow("jlora_emulator_" + name), descriptor);
    }

    private static Object call(MethodHandle handle, Object... arguments) {
        try {
            return handle.invokeWithArguments(arguments);
        } catch (Throwable t) {
            throw new AssertionError("emulator control: bad binding", t);
        }
    }
}
