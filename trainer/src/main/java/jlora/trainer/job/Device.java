package jlora.trainer.job;

import jlora.runtime.JloraException;
import jlora.runtime.backend.cuda.CudaBackend;

import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * What a plan needs to know of a device that need not be present.
 *
 * @param gpu whether bfloat16 is what it computes in unless told otherwise
 * @param bytes memory that a run can have of it
 * @param reserved bytes that the backend takes of these for itself
 * @param bf16Tflops dense bf16 matrix products, 10¹² per second, by the maker's data sheet; 0 where
 *     it is not known
 * @param hostBytesPerSecond that copies from page-locked memory of the host reach; 0 where it is
 *     not known
 */
public record Device(
        String name,
        String label,
        boolean gpu,
        long bytes,
        long reserved,
        double bf16Tflops,
        double hostBytesPerSecond) {
    /**
     * Memory is what the driver reports as free on an idle card, a little below the name; rates of
     * products are data-sheet peaks; copies from page-locked memory reach seven eighths of 16 lanes
     * of PCIe, generation 4 or 5.
     */
    private static final Map<String, Device> KNOWN = new LinkedHashMap<>();

    /** What the driver takes of an idle card for a context of ours. */
    private static final long CONTEXT_BYTES = 500L << 20;

    private static final double PCIE_4 = 27.5e9;
    private static final double PCIE_5 = 55e9;

    static {
        add("h200", "NVIDIA H200", 139.8, 989, PCIE_5);
        add("h100", "NVIDIA H100 80GB", 79.1, 989, PCIE_5);
        add("b200", "NVIDIA B200", 178.3, 2250, PCIE_5);
        add("a100", "NVIDIA A100 80GB", 79.1, 312, PCIE_4);
        add("a100-40", "NVIDIA A100 40GB", 39.4, 312, PCIE_4);
        add("l40s", "NVIDIA L40S", 44.4, 362, PCIE_4);
        add("l4", "NVIDIA L4", 22.0, 121, PCIE_4);
        add("a10g", "NVIDIA A10G", 22.0, 70, PCIE_4);
        add("rtx5090", "NVIDIA GeForce RTX 5090", 31.4, 209, PCIE_5);
        add("rtx4090", "NVIDIA GeForce RTX 4090", 23.5, 165, PCIE_4);
        add("rtx3090", "NVIDIA GeForce RTX 3090", 23.6, 71, PCIE_4);
    }

    private static void add(String name, String label, double gib, double tflops, double pcie) {
        long free = (long) (gib * (1L << 30));
        long bytes = free - CONTEXT_BYTES - CudaBackend.MARGIN_BYTES;
        KNOWN.put(
                name,
                new Device(name, label, true, bytes, CudaBackend.RESERVED_BYTES, tflops, pcie));
    }

    /** A device by its short name, such as {@code h200}. */
    public static Device of(String name) {
        Device device = KNOWN.get(name.toLowerCase(Locale.ROOT));
        if (device == null) {
            throw JloraException.usage(
                    "--device "
                            + name
                            + " is not known; name one of cpu, "
                            + String.join(", ", KNOWN.keySet())
                            + ".");
        }
        return device;
    }

    /** This machine: its memory, and what the CPU backend may take of it. */
    public static Device cpu() {
        return new Device("cpu", "this machine's CPU", false, HostMemory.available(), 0, 0, 0);
    }

    /** A GPU of this machine, as it is now: what is free, and what the backend holds already. */
    public static Device of(CudaBackend backend) {
        String model = backend.device().name();
        long bytes = backend.freeBytes() + backend.reservedBytes() - CudaBackend.MARGIN_BYTES;
        Optional<Device> known =
                KNOWN.values().stream().filter(k -> model.startsWith(k.label)).findFirst();
        return new Device(
                "cuda:" + backend.device().ordinal(),
                model,
                true,
                Math.max(0, bytes),
                backend.reservedBytes(),
                known.map(Device::bf16Tflops).orElse(0.0),
                known.map(Device::hostBytesPerSecond).orElse(0.0));
    }

    /**
     * Bytes that a chunk of f32 logits may take, little beside full logits. On a CPU the product
     * library lays the head's weight out anew for each chunk, so few chunks are better. A GPU reads
     * that weight for each of them: with 500 rows it computes three times as long as it reads.
     */
    long logitsBytes() {
        return gpu ? 256L << 20 : 128L << 20;
    }

    /** The same device, of which a run may take no more than so many bytes. */
    public Device limitedTo(long most) {
        return new Device(
                name, "memory limit", gpu, most, reserved, bf16Tflops, hostBytesPerSecond);
    }
}
