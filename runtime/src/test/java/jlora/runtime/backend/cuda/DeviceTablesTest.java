package jlora.runtime.backend.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.PinnedBuffer;

import org.junit.jupiter.api.Test;

import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/** Tables reach the device once, stay where they are, and none is made while work is captured. */
final class DeviceTablesTest {
    @Test
    void equalContentsAreOneTable() {
        Emulator emulator = Emulator.open();
        Emulator.Live before = emulator.live();
        try (CudaContext context = emulator.context();
                CudaStream stream = context.stream("test");
                DeviceTables tables = new DeviceTables(context, stream);
                PinnedBuffer host = context.allocatePinned("host", 64)) {
            long address = tables.address(table(33, 1));
            assertEquals(address, tables.address(table(33, 1)));
            long other = tables.address(table(33, 2));
            assertNotEquals(address, other);
            assertEquals(0, other % 16);
            // More than a chunk holds, and the first table is still there.
            tables.address(table((int) DeviceTables.CHUNK_BYTES - 10, 3));
            tables.address(table((int) DeviceTables.CHUNK_BYTES + 10, 4));
            assertEquals(address, tables.address(table(33, 1)));
            stream.copyToHost(host.segment().address(), address, 33);
            stream.synchronize();
            assertEquals(1, host.segment().get(ValueLayout.JAVA_BYTE, 32));
        }
        assertEquals(before, emulator.live());
    }

    @Test
    void newTableWhileWorkIsCapturedIsAnError() {
        Emulator emulator = Emulator.open();
        try (CudaContext context = emulator.context();
                CudaStream stream = context.stream("test");
                DeviceTables tables = new DeviceTables(context, stream)) {
            long known = tables.address(table(16, 1));
            stream.beginCapture();
            try {
                assertEquals(known, tables.address(table(16, 1)));
                assertThrows(IllegalStateException.class, () -> tables.address(table(16, 2)));
            } finally {
                stream.abortCapture();
            }
        }
    }

    private static byte[] table(int bytes, int value) {
        byte[] table = new byte[bytes];
        Arrays.fill(table, (byte) value);
        return table;
    }
}
