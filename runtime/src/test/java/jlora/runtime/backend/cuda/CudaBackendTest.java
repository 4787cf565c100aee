package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.cu.driver.CudaException;
import jlora.cu.sys.CudaDriverConstants;
import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.Resources;
import jlora.runtime.backend.HostRows;
import jlora.runtime.backend.Readback;
import jlora.runtime.backend.Routine;
import jlora.runtime.cases.MemoryCheck;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** Memory, copies and the order of work of the CUDA backend, on the emulator. */
final class CudaBackendTest {
    private Emulator emulator;
    private CudaBackend backend;
    private Emulator.Live before;
    private final Resources memory = new Resources();

    @BeforeEach
    void open() {
        emulator = Emulator.open();
        before = emulator.live();
        backend = emulator.backend();
    }

    @AfterEach
    void close() {
        if (backend != null) {
            memory.close();
            backend.close();
            assertEquals(before, emulator.live());
            assertEquals("", emulator.brokenGuards());
        }
    }

    private static Tensor floats(String name, long rows, long cols, long pad) {
        return Tensor.padded(name, Storage.Role.WEIGHT, DType.F32, rows, cols, pad);
    }

    private void place(Tensor... tensors) {
        long bytes = 0;
        for (Tensor t : tensors) {
            bytes += MemoryArena.align(t.storage().bytes());
        }
        MemoryArena arena = memory.own(backend.allocate("test", bytes));
        long offset = 0;
        for (Tensor t : tensors) {
            arena.place(t.storage(), offset);
            offset += MemoryArena.align(t.storage().bytes());
        }
    }

    private float[] download(Tensor tensor) {
        float[] values = new float[(int) tensor.elements()];
        backend.download(MemorySegment.ofArray(values), tensor);
        return values;
    }

    private static float[] numbers(long count) {
        float[] values = new float[(int) count];
        for (int i = 0; i < values.length; i++) {
            values[i] = i * 0.5f - 3;
        }
        return values;
    }

    @Test
    void copiesViews() {
        MemoryCheck.check(backend);
    }

    @Test
    void copiesRowsLargerThanASlotAndMoreSlotsThanThereAre() {
        long slot = Staging.SLOT_BYTES / Float.BYTES;
        Tensor wide = floats("wide", 2, slot + 5, 3);
        Tensor tall = floats("tall", 70_000, 200, 8);
        place(wide, tall);
        for (Tensor t : List.of(wide, tall)) {
            float[] values = numbers(t.elements());
            backend.upload(t, MemorySegment.ofArray(values));
            assertArrayEquals(values, download(t), t.name());
        }
        assertTrue(tall.elements() * 4 > 12 * Staging.SLOT_BYTES, "the ring goes round");
    }

    @Test
    void hostMemoryMayChangeOnceAnUploadHasReturned() {
        Tensor a = floats("a", 3, 5, 0);
        Tensor b = floats("b", 3, 5, 0);
        place(a, b);
        float[] values = numbers(15);
        backend.upload(a, MemorySegment.ofArray(values));
        values[7] = 99;
        backend.upload(b, MemorySegment.ofArray(values));
        values[7] = 1;
        assertEquals(numbers(15)[7], download(a)[7]);
        assertEquals(99, download(b)[7]);
    }

    @Test
    void smallUploadsWaitForNothing() {
        Tensor a = floats("a", 1, 300, 0);
        place(a);
        backend.synchronize();
        emulator.resetCalls();
        float[] values = numbers(300);
        for (int i = 0; i < 500; i++) {
            backend.upload(a, MemorySegment.ofArray(values));
        }
        assertEquals(500, emulator.calls("cuMemcpyHtoDAsync"));
        assertEquals(0, emulator.calls("cuStreamSynchronize"));
        assertEquals(1, emulator.calls("cuEventSynchronize"), "once per slot, of 4 MiB");
    }

    @Test
    void hostThreadsFillRowsOfAnyStride() {
        List<HostRows> sources = new ArrayList<>();
        List<Tensor> tensors = new ArrayList<>();
        for (int i = 0; i < 6; i++) {
            // The fourth has rows larger than a slot, between others that are being filled.
            boolean wide = i == 3;
            Tensor t = floats("t" + i, wide ? 2 : 1 + 9000L * i, wide ? 1_200_000 : 250, i % 2);
            tensors.add(t);
            sources.add(new HostRows(t, CudaBackendTest::writeNumbers));
        }
        place(tensors.toArray(Tensor[]::new));
        backend.upload(sources);
        for (Tensor t : tensors) {
            float[] got = download(t);
            for (int i = 0; i < got.length; i++) {
                assertEquals(i, got[i], t.name());
            }
        }
    }

    private static void writeNumbers(Tensor rows, long firstRow) {
        for (long r = 0; r < rows.rows(); r++) {
            for (long c = 0; c < rows.cols(); c++) {
                rows.segment()
                        .set(
                                ValueLayout.JAVA_FLOAT,
                                rows.byteOffset(r) + 4 * c,
                                (firstRow + r) * rows.cols() + c);
            }
        }
    }

    @Test
    void failureOfAHostThreadSurfaces() {
        Tensor t = floats("t", 30_000, 250, 0);
        place(t);
        HostRows broken =
                new HostRows(
                        t,
                        (rows, first) -> {
                            if (first > 10_000) {
                                throw JloraException.corrupt("row " + first + " is broken");
                            }
                        });
        JloraException e =
                assertThrows(JloraException.class, () -> backend.upload(List.of(broken)));
        assertEquals(ExitCode.CORRUPT_INPUT, e.exitCode());
        backend.upload(t, MemorySegment.ofArray(numbers(t.elements())));
        assertEquals(-3, download(t)[0], "copies work afterwards");
    }

    @Test
    void resultsAreThoseOfTheirPointInTheOrderOfWork() {
        Tensor loss = floats("loss", 1, 1, 0);
        place(loss);
        List<Readback> later = new ArrayList<>();
        for (int i = 0; i < 40; i++) {
            backend.upload(loss, MemorySegment.ofArray(new float[] {i}));
            later.add(backend.readLater(loss));
        }
        for (int i = 0; i < 40; i++) {
            assertArrayEquals(new float[] {i}, later.get(i).get());
        }
        long allocations = emulator.live().allocations();
        backend.readLater(loss).get();
        assertEquals(allocations, emulator.live().allocations(), "slots are used again");
    }

    @Test
    void errorInsideARecordedRunSurfacesAndLeavesNoCapture() {
        Tensor t = floats("t", 1, 8, 0);
        boolean[] fail = {false};
        place(t);
        try (Routine routine =
                backend.routine(
                        "broken",
                        () -> {
                            if (fail[0]) {
                                throw new IllegalStateException("while recording");
                            }
                        })) {
            routine.run();
            fail[0] = true;
            assertEquals(
                    "while recording",
                    assertThrows(IllegalStateException.class, routine::run).getMessage());
            backend.upload(t, MemorySegment.ofArray(numbers(8)));
            assertEquals(-3, download(t)[0], "the stream works as before");
        }
    }

    @Test
    void timesByTheDevice() {
        assertTrue(backend.milliseconds(() -> {}) >= 0);
    }

    @Test
    void belongsToTheThreadThatOpenedIt() {
        CompletionException e =
                assertThrows(
                        CompletionException.class,
                        () -> CompletableFuture.runAsync(backend::synchronize).join());
        assertTrue(e.getCause().getMessage().contains("thread that opened it"), e.toString());
    }

    @Test
    void memoryThatIsNotThereIsExitCode4() {
        JloraException e =
                assertThrows(JloraException.class, () -> backend.allocate("weights", 1L << 40));
        assertEquals(ExitCode.OUT_OF_MEMORY, e.exitCode());
        assertTrue(e.getMessage().contains("weights, 1099511627776 bytes"), e.getMessage());
        assertTrue(e.getCause() instanceof CudaException.OutOfMemory, "the cause is kept");
    }

    @Test
    void failureAtEveryCallOfOpeningLeavesNothing() {
        backend.close();
        backend = null;
        emulator.resetCalls();
        long calls;
        try (CudaBackend whole = emulator.backend()) {
            whole.describe();
            calls = emulator.calls("");
        }
        assertTrue(calls > 30, calls + " calls");
        for (int call = 1; call <= calls; call++) {
            emulator.fail("", call, CudaDriverConstants.OUT_OF_MEMORY);
            try (CudaBackend opened = emulator.backend()) {
                opened.describe();
            } catch (JloraException e) {
                boolean driver = e.getCause() instanceof CudaException.OutOfMemory;
                assertEquals(driver ? ExitCode.OUT_OF_MEMORY : ExitCode.GPU_FAULT, e.exitCode());
            }
            emulator.fail("", 0, 0);
            Emulator.Live live = emulator.live();
            assertEquals(before, live, "after a failure at call " + call + " of " + calls);
        }
    }

    @Test
    void lostDeviceIsExitCode6AndClosesWithoutEnd() {
        Tensor t = floats("t", 1, 8, 0);
        place(t);
        emulator.loseDevice(CudaDriverConstants.ECC_UNCORRECTABLE);
        try {
            JloraException e = assertThrows(JloraException.class, () -> download(t));
            assertEquals(ExitCode.GPU_FAULT, e.exitCode());
            assertTrue(e.getMessage().contains("ECC could not correct"), e.getMessage());
        } finally {
            emulator.restoreDevice();
        }
    }
}
