package jlora.trainer.job;

import jlora.runtime.JloraException;

import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/**
 * What a plan needs to know of a device that need not be present.
 *
 * @param bytes memory that a program can have of it
 * @param bf16Tflops dense bf16 matrix products, 10¹² per second, by the maker's data sheet
 */
public record Device(String name, String label, long bytes, double bf16Tflops) {
    /**
     * Memory is what the driver reports as free on an idle card, a little below the name; rates are
     * data-sheet peaks.
     */
    private static final Map<String, Device> KNOWN = new LinkedHashMap<>();

    static {
        add("h200", "NVIDIA H200", 139.8, 989);
        add("h100", "NVIDIA H100 80GB", 79.1, 989);
        add("b200", "NVIDIA B200", 178.3, 2250);
        add("a100", "NVIDIA A100 80GB", 79.1, 312);
        add("a100-40", "NVIDIA A100 40GB", 39.4, 312);
        add("l40s", "NVIDIA L40S", 44.4, 362);
        add("l4", "NVIDIA L4", 22.0, 121);
        add("a10g", "NVIDIA A10G", 22.0, 70);
        add("rtx5090", "NVIDIA GeForce RTX 5090", 31.4, 209);
        add("rtx4090", "NVIDIA GeForce RTX 4090", 23.5, 165);
        add("rtx3090", "NVIDIA GeForce RTX 3090", 23.6, 71);
    }

    private static void add(String name, String label, double gib, double tflops) {
        KNOWN.put(name, new Device(name, label, (long) (gib * (1L << 30)), tflops));
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
        return new Device("cpu", "this machine's CPU", HostMemory.available(), 0);
    }
}
