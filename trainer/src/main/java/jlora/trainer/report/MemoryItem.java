package jlora.trainer.report;

/** One line of the memory plan. */
public record MemoryItem(String name, long bytes) {
    public MemoryItem {
        if (name.isBlank() || bytes < 0) {
            throw new IllegalArgumentException("memory item '" + name + "' of " + bytes + " bytes");
        }
    }
}
