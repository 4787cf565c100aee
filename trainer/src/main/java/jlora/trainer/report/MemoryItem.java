package jlora.trainer.report;

/**
 * One line of the memory plan.
 *
 * @param bytes at the fullest step: the lines add up to the whole
 * @param most at any step; more than bytes where the line peaks when others are low
 */
public record MemoryItem(String name, long bytes, long most) {
    public MemoryItem {
        if (name.isBlank() || bytes < 0 || most < bytes) {
            throw new IllegalArgumentException("memory item '" + name + "' of " + bytes + " bytes");
        }
    }

    public MemoryItem(String name, long bytes) {
        this(name, bytes, bytes);
    }
}
