package jlora.cu.driver;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;

import jlora.cu.CudaLibraries;
import jlora.cu.NativeLibrary;
import jlora.cu.jcuda.JcudaDriver;
import jlora.cu.jcuda.JcudaHandles;
import jlora.cu.sys.CudaDriverApi;
import jlora.cu.sys.CudaDriverConstants;
import jlora.cu.sys.PanamaCudaDriver;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Consumer;

/**
 * What every provider of the driver's calls has to do, on the emulator that native-kernels builds;
 * skipped where it could not be built.
 */
class DriverContractTest {
    private static final Path EMULATOR =
            Path.of("../native-kernels/target/emulator").toAbsolutePath().normalize();

    /** Rows and columns of the kernel that is launched. */
    private static final int ROWS = 3;

    private static final int COLS = 70;

    enum Provider {
        PANAMA,
        JCUDA;

        CudaDriverApi open() {
            assumeTrue(
                    Files.exists(EMULATOR.resolve("libcuda.so.1")),
                    "no emulator in " + EMULATOR + ": build native-kernels with g++");
            NativeLibrary library = CudaLibraries.in(EMULATOR).driver();
            return this == PANAMA
                    ? new PanamaCudaDriver(library.symbols())
                    : JcudaDriver.open(library);
        }
    }

    private static void inContext(Provider provider, Consumer<CudaContext> body) {
        try (CudaContext context = CudaContext.open(CudaDriver.init(provider.open()), 0)) {
            body.accept(context);
        }
    }

    @ParameterizedTest
    @EnumSource
    void tellsOfTheDevice(Provider provider) {
        CudaDriver driver = CudaDriver.init(provider.open());
        assertEquals(provider.name().toLowerCase(java.util.Locale.ROOT), driver.api().provider());
        assertEquals(1, driver.devices());
        assertTrue(driver.version() >= 12_000);
        DeviceInfo device = DeviceInfo.of(driver, 0);
        assertEquals("jlora emulator", device.name());
        assertEquals("sm_90", device.architecture());
        assertTrue(device.uuid().matches("GPU(-[0-9a-f]+){5}"), device.uuid());
        assertTrue(device.totalBytes() > 0 && device.sharedBytes() > 48 << 10, device::toString);
    }

    @ParameterizedTest
    @EnumSource
    void copiesAndFills(Provider provider) {
        inContext(
                provider,
                context -> {
                    long before = context.memory().free();
                    try (DeviceBuffer buffer = context.allocate("rows", 64);
                            DeviceBuffer other = context.allocate("other", 64);
                            PinnedBuffer host = context.allocatePinned("host", 64);
                            CudaStream stream = context.stream("copies")) {
                        assertTrue(context.memory().free() < before);
                        for (int i = 0; i < 64; i++) {
                            host.segment().set(ValueLayout.JAVA_BYTE, i, (byte) i);
                        }
                        long at = host.segment().address();
                        stream.copyToDevice(buffer.address(), at, 64);
                        stream.fill(other.address(), (byte) 7, 64);
                        // Rows of 4 bytes out of rows of 16 into rows of 8.
                        stream.copy(
                                new CudaDriverApi.Copy2D(
                                        other.address(),
                                        8,
                                        false,
                                        buffer.address(),
                                        16,
                                        false,
                                        4,
                                        4));
                        stream.copyToHost(at, other.address(), 64);
                        stream.synchronize();
                        byte[] expected = new byte[64];
                        java.util.Arrays.fill(expected, (byte) 7);
                        for (int row = 0; row < 4; row++) {
                            for (int i = 0; i < 4; i++) {
                                expected[8 * row + i] = (byte) (16 * row + i);
                            }
                        }
                        assertArrayEquals(expected, host.segment().toArray(ValueLayout.JAVA_BYTE));
                        stream.copy(other.address(), buffer.address(), 64);
                        stream.copy(
                                new CudaDriverApi.Copy2D(
                                        at, 16, true, other.address(), 32, false, 16, 2));
                        stream.synchronize();
                        assertEquals(32, host.segment().get(ValueLayout.JAVA_BYTE, 16));
                    }
                    assertEquals(before, context.memory().free());
                });
    }

    @ParameterizedTest
    @EnumSource
    void launchesAtOnceAndByGraph(Provider provider) {
        inContext(
                provider,
                context -> {
                    try (Arena arena = Arena.ofConfined();
                            CudaModule module = context.load("self-test", arena.allocate(16));
                            CudaStream stream = context.stream("launches");
                            CudaEvent start = context.event("start");
                            CudaEvent end = context.event("end");
                            DeviceBuffer x = context.allocate("x", 4L * ROWS * COLS);
                            DeviceBuffer out = context.allocate("out", 4L * ROWS);
                            PinnedBuffer host = context.allocatePinned("host", 4L * ROWS * COLS)) {
                        CudaFunction sum = module.function("selftest_row_sum_f32");
                        assertTrue(sum.blocksPerMultiprocessor(LaunchShape.of(ROWS, 64)) > 0);
                        setRows(host, 1);
                        stream.copyToDevice(x.address(), host.segment().address(), x.bytes());
                        stream.record(start);
                        launch(stream, sum, out, x);
                        stream.record(end);
                        assertSums(1, stream, out, host);
                        assertTrue(end.passed() && end.millisecondsSince(start) >= 0);

                        stream.beginCapture();
                        launch(stream, sum, out, x);
                        launch(stream, sum, out, x);
                        try (CudaGraph graph = stream.endCapture("two launches")) {
                            assertEquals(2, graph.nodes());
                            setRows(host, 2);
                            stream.copyToDevice(x.address(), host.segment().address(), x.bytes());
                            stream.synchronize();
                            graph.launch(stream);
                            assertSums(2, stream, out, host);
                        }
                    }
                });
    }

    private static void launch(
            CudaStream stream, CudaFunction sum, DeviceBuffer out, DeviceBuffer x) {
        KernelArgs args = stream.args().pointer(out.address()).pointer(x.address()).i32(COLS);
        stream.launch(sum, LaunchShape.of(ROWS, 64), args);
    }

    private static void setRows(PinnedBuffer host, int factor) {
        for (int i = 0; i < ROWS * COLS; i++) {
            host.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) factor * (i / COLS + 1));
        }
    }

    private static void assertSums(
            int factor, CudaStream stream, DeviceBuffer out, PinnedBuffer host) {
        stream.copyToHost(host.segment().address(), out.address(), out.bytes());
        stream.synchronize();
        for (int row = 0; row < ROWS; row++) {
            assertEquals(
                    factor * COLS * (row + 1f),
                    host.segment().getAtIndex(ValueLayout.JAVA_FLOAT, row),
                    1e-3f);
        }
    }

    @ParameterizedTest
    @EnumSource
    void failuresNameTheCallAndWhatItWasFor(Provider provider) {
        inContext(
                provider,
                context -> {
                    CudaException.OutOfMemory full =
                            assertThrows(
                                    CudaException.OutOfMemory.class,
                                    () -> context.allocate("a huge table", 1L << 50));
                    assertEquals("cuMemAlloc", full.failure().call());
                    assertEquals(CudaDriverConstants.OUT_OF_MEMORY, full.failure().code());
                    assertTrue(
                            full.getMessage().contains("a huge table")
                                    && full.getMessage().contains("CUDA_ERROR_OUT_OF_MEMORY"),
                            full.getMessage());
                    try (Arena arena = Arena.ofConfined();
                            CudaModule module = context.load("self-test", arena.allocate(16))) {
                        CudaException missing =
                                assertThrows(CudaException.class, () -> module.function("no_such"));
                        assertInstanceOf(CudaException.CallFailed.class, missing);
                        assertEquals(CudaDriverConstants.NOT_FOUND, missing.failure().code());
                    }
                });
    }

    @ParameterizedTest
    @EnumSource
    void whatIsClosedIsNotUsed(Provider provider) {
        inContext(
                provider,
                context -> {
                    DeviceBuffer buffer = context.allocate("gone", 8);
                    buffer.close();
                    buffer.close();
                    assertTrue(
                            assertThrows(IllegalStateException.class, buffer::address)
                                    .getMessage()
                                    .contains("gone"));
                    CudaStream stream = context.stream("ended");
                    stream.close();
                    stream.close();
                    assertThrows(IllegalStateException.class, stream::synchronize);
                });
    }

    /** Untyped arguments: a wrong call would compute garbage, so it must not run. */
    @Test
    void argumentsThatTheKernelDoesNotTakeAreRefused() {
        inContext(
                Provider.PANAMA,
                context -> {
                    try (Arena arena = Arena.ofConfined();
                            CudaModule module = context.load("self-test", arena.allocate(16));
                            CudaStream stream = context.stream("launches")) {
                        CudaFunction sum = module.function("selftest_row_sum_f32");
                        KernelArgs args = stream.args().pointer(0).i32(0).i32(0);
                        String sentence =
                                assertThrows(
                                                IllegalArgumentException.class,
                                                () ->
                                                        stream.launch(
                                                                sum, LaunchShape.of(1, 32), args))
                                        .getMessage();
                        assertTrue(sentence.contains("[8, 8, 4]"), sentence);
                        assertTrue(sentence.contains("[8, 4, 4]"), sentence);
                    }
                });
    }

    /** A program that already uses JCuda keeps its context, its stream and its pointers. */
    @Test
    void takesOverWhatJcudaMadeAndGivesBack() {
        CudaDriver driver = CudaDriver.init(Provider.JCUDA.open());
        CudaDriver panama = CudaDriver.init(Provider.PANAMA.open());
        try (CudaContext owner = CudaContext.open(driver, 0)) {
            CUcontext context = new CUcontext();
            JCudaDriver.cuCtxGetCurrent(context);
            CUstream stream = new CUstream();
            JCudaDriver.cuStreamCreate(stream, 0);
            CUdeviceptr memory = new CUdeviceptr();
            JCudaDriver.cuMemAlloc(memory, 64);
            try (CudaContext adopted = JcudaHandles.adopt(panama, context);
                    CudaStream same = JcudaHandles.adopt(panama, "theirs", stream)) {
                assertEquals(owner.handle(), adopted.handle());
                same.fill(JcudaHandles.address(memory), (byte) 1, 64);
                same.fill(JcudaHandles.address(memory.withByteOffset(2)), (byte) 5, 2);
                byte[] read = new byte[8];
                try (PinnedBuffer host = adopted.allocatePinned("host", 8)) {
                    same.copyToHost(
                            host.segment().address(), JcudaHandles.address(memory), read.length);
                    same.synchronize();
                    MemorySegment.copy(host.segment(), ValueLayout.JAVA_BYTE, 0, read, 0, 8);
                }
                assertArrayEquals(new byte[] {1, 1, 5, 5, 1, 1, 1, 1}, read);
                assertEquals(stream, JcudaHandles.stream(same));
                assertEquals(context, JcudaHandles.context(adopted));
            }
            // Nothing of theirs was destroyed with our view of it.
            assertEquals(0, JCudaDriver.cuStreamSynchronize(stream));
            assertEquals(0, JCudaDriver.cuStreamDestroy(stream));
            assertEquals(0, JCudaDriver.cuMemFree(memory));
            assertFalse(owner.memory().free() == 0);
        }
    }
}
