package jlora.cu.nvml;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;

import jlora.cu.CudaLibraries;
import jlora.cu.HeaderCheck;
import jlora.cu.driver.CudaException;
import jlora.cu.sys.LibraryVersion;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.OptionalLong;

/**
 * NVML over a stand-in written in C, with two devices: the first has everything, the second no ECC,
 * no power sensor and no fault events, as cards for desktops. Skipped without a C compiler.
 */
class NvmlTest {
    private static final String STAND_IN =
            """
            #include <string.h>
            #include <stdio.h>

            typedef struct { unsigned long long total, free, used; } memory;
            typedef struct { unsigned int gpu, memory; } utilization;
            typedef struct {
                void *device;
                unsigned long long type, data;
                unsigned int gpu_instance, compute_instance;
            } event;

            static int devices[2], waits, open, sets;

            static int index_of(void *device) { return (int) ((int *) device - devices); }

            int nvmlInit_v2(void) { open++; return 0; }
            int nvmlShutdown(void) { return --open == 0 && sets == 0 ? 0 : 999; }
            const char *nvmlErrorString(int status) {
                return status == 6 ? "Not Found" : status == 15 ? "GPU is lost" : "Other";
            }
            int nvmlSystemGetDriverVersion(char *text, unsigned length) {
                snprintf(text, length, "580.82.07");
                return 0;
            }
            int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
            int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
                *device = devices + index;
                return index < 2 ? 0 : 2;
            }
            int nvmlDeviceGetHandleByUUID(const char *uuid, void **device) {
                *device = devices + (strcmp(uuid, "GPU-1") == 0);
                return strncmp(uuid, "GPU-", 4) == 0 ? 0 : 6;
            }
            int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device) {
                *device = devices + (strcmp(bus, "0000:3b:00.0") == 0);
                return 0;
            }
            int nvmlDeviceGetName(void *device, char *text, unsigned length) {
                snprintf(text, length, "Stand-in %d", index_of(device));
                return 0;
            }
            int nvmlDeviceGetUUID(void *device, char *text, unsigned length) {
                snprintf(text, length, "GPU-%d", index_of(device));
                return 0;
            }
            int nvmlDeviceGetMemoryInfo(void *device, memory *m) {
                m->total = 80ull << 30;
                m->free = 60ull << 30;
                m->used = 20ull << 30;
                return 0;
            }
            int nvmlDeviceGetUtilizationRates(void *device, utilization *u) {
                u->gpu = 97;
                u->memory = 41;
                return 0;
            }
            int nvmlDeviceGetTotalEccErrors(
                    void *device, int error, int counter, unsigned long long *count) {
                *count = error == 1 && counter == 0 ? 5000000000ull : 0;
                return index_of(device) == 0 ? 0 : 3;
            }
            int nvmlDeviceGetPowerUsage(void *device, unsigned *milliwatts) {
                *milliwatts = 350500;
                return index_of(device) == 0 ? 0 : 3;
            }
            int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *celsius) {
                *celsius = 61;
                return sensor == 0 ? 0 : 2;
            }
            int nvmlEventSetCreate(void **set) { sets++; waits = 0; *set = &waits; return 0; }
            int nvmlDeviceRegisterEvents(void *device, unsigned long long types, void *set) {
                return types != 10 ? 2 : index_of(device) == 0 ? 0 : 3;
            }
            int nvmlEventSetWait_v2(void *set, event *e, unsigned milliseconds) {
                e->device = devices;
                switch (waits++) {
                    case 0: return milliseconds == 250 ? 10 : 2;
                    case 1: e->type = 8; e->data = 79; return 0;
                    case 2: e->type = 2; e->data = 0; return 0;
                    default: return 15;
                }
            }
            int nvmlEventSetFree(void *set) { sets--; return 0; }
            """;

    @TempDir private Path folder;

    private Nvml open() throws IOException, InterruptedException {
        HeaderCheck.sharedLibrary(folder.resolve("libnvidia-ml.so.1"), STAND_IN);
        return Nvml.open(CudaLibraries.in(folder).nvml());
    }

    @Test
    void readsEverythingOfADevice() throws IOException, InterruptedException {
        try (Nvml nvml = open()) {
            assertEquals("580.82.07", nvml.driverVersion());
            assertEquals("580.82.07", LibraryVersion.nvml(CudaLibraries.in(folder).nvml()));
            assertEquals(2, nvml.devices().size());
            NvmlDevice device = nvml.device(0);
            assertEquals("GPU-0", device.uuid());
            assertEquals("Stand-in 0", device.name());
            assertEquals(new NvmlDevice.Memory(80L << 30, 60L << 30, 20L << 30), device.memory());
            assertEquals(Optional.of(new NvmlDevice.Utilization(97, 41)), device.utilization());
            assertEquals(OptionalLong.of(5_000_000_000L), device.uncorrectedEccErrors());
            assertEquals(OptionalDouble.of(350.5), device.power());
            assertEquals(OptionalInt.of(61), device.temperature());
        }
    }

    @Test
    void findsADeviceByWhatCudaKnowsItBy() throws IOException, InterruptedException {
        try (Nvml nvml = open()) {
            assertEquals("Stand-in 1", nvml.deviceByUuid("GPU-1").name());
            assertEquals("Stand-in 1", nvml.deviceByPciBusId("0000:3b:00.0").name());
            CudaException missing =
                    assertThrows(CudaException.CallFailed.class, () -> nvml.deviceByUuid("x"));
            assertEquals("Not Found", missing.failure().name());
        }
    }

    @Test
    void saysWhatADeviceDoesNotHave() throws IOException, InterruptedException {
        try (Nvml nvml = open()) {
            NvmlDevice device = nvml.device(1);
            assertEquals(OptionalLong.empty(), device.uncorrectedEccErrors());
            assertEquals(OptionalDouble.empty(), device.power());
            assertEquals(Optional.empty(), NvmlFaults.watch(nvml, nvml.devices()));
        }
    }

    @Test
    void waitsForFaults() throws IOException, InterruptedException {
        try (Nvml nvml = open()) {
            NvmlDevice device = nvml.device(0);
            try (NvmlFaults faults = NvmlFaults.watch(nvml, List.of(device)).orElseThrow()) {
                Duration wait = Duration.ofMillis(250);
                assertEquals(Optional.empty(), faults.await(wait));
                assertEquals("GPU-0: Xid 79", faults.await(wait).orElseThrow().toString());
                assertEquals(
                        "GPU-0: uncorrectable memory error (ECC)",
                        faults.await(wait).orElseThrow().toString());
                assertInstanceOf(
                        CudaException.ContextLost.class,
                        assertThrows(CudaException.class, () -> faults.await(wait)));
            }
        }
    }

    @Test
    void isClosedOnce() throws IOException, InterruptedException {
        Nvml nvml = open();
        nvml.close();
        nvml.close();
        assertThrows(IllegalStateException.class, nvml::devices);
    }
}
