package jlora.cu.driver;

import jlora.cu.sys.CudaDriverApi;
import jlora.cu.sys.CudaDriverConstants;

import java.nio.charset.StandardCharsets;
import java.util.HexFormat;

/**
 * What kernels and reports need to know of a device.
 *
 * @param uuid as {@code nvidia-smi -L} prints it
 * @param pciBusId as in {@code 0000:3b:00.0}, which NVML knows it by
 * @param totalBytes memory of the device
 * @param sharedBytes the most dynamic shared memory that a block can ask for
 */
public record DeviceInfo(
        int ordinal,
        String name,
        String uuid,
        String pciBusId,
        int major,
        int minor,
        int multiprocessors,
        long totalBytes,
        int sharedBytes,
        int l2Bytes,
        boolean ecc) {

    /** Asks the driver; needs no context. */
    public static DeviceInfo of(CudaDriver driver, int ordinal) {
        CudaDriverApi api = driver.api();
        int[] device = new int[1];
        driver.check("cuDeviceGet", api.cuDeviceGet(device, ordinal), "device " + ordinal);
        byte[] name = new byte[256];
        driver.check("cuDeviceGetName", api.cuDeviceGetName(name, device[0]), "");
        byte[] uuid = new byte[16];
        driver.check("cuDeviceGetUuid", api.cuDeviceGetUuid(uuid, device[0]), "");
        long[] total = new long[1];
        driver.check("cuDeviceTotalMem", api.cuDeviceTotalMem(total, device[0]), "");
        int domain = attribute(driver, CudaDriverConstants.ATTRIBUTE_PCI_DOMAIN_ID, device[0]);
        int bus = attribute(driver, CudaDriverConstants.ATTRIBUTE_PCI_BUS_ID, device[0]);
        int slot = attribute(driver, CudaDriverConstants.ATTRIBUTE_PCI_DEVICE_ID, device[0]);
        return new DeviceInfo(
                ordinal,
                text(name),
                uuid(uuid),
                String.format("%04x:%02x:%02x.0", domain, bus, slot),
                attribute(
                        driver, CudaDriverConstants.ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, device[0]),
                attribute(
                        driver, CudaDriverConstants.ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, device[0]),
                attribute(driver, CudaDriverConstants.ATTRIBUTE_MULTIPROCESSOR_COUNT, device[0]),
                total[0],
                attribute(
                        driver,
                        CudaDriverConstants.ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
                        device[0]),
                attribute(driver, CudaDriverConstants.ATTRIBUTE_L2_CACHE_SIZE, device[0]),
                attribute(driver, CudaDriverConstants.ATTRIBUTE_ECC_ENABLED, device[0]) != 0);
    }

    private static int attribute(CudaDriver driver, int attribute, int device) {
        int[] value = new int[1];
        driver.check(
                "cuDeviceGetAttribute",
                driver.api().cuDeviceGetAttribute(value, attribute, device),
                "attribute " + attribute);
        return value[0];
    }

    private static String text(byte[] terminated) {
        int end = 0;
        while (end < terminated.length && terminated[end] != 0) {
            end++;
        }
        return new String(terminated, 0, end, StandardCharsets.UTF_8);
    }

    private static String uuid(byte[] bytes) {
        String hex = HexFormat.of().formatHex(bytes);
        return "GPU-"
                + String.join(
                        "-",
                        hex.substring(0, 8),
                        hex.substring(8, 12),
                        hex.substring(12, 16),
                        hex.substring(16, 20),
                        hex.substring(20));
    }

    /** Such as {@code sm_90}. */
    public String architecture() {
        return "sm_" + major + minor;
    }
}
