package jlora.trainer.job;

/** A line of a memory plan. */
public record MemoryItem(String name, long bytes) {}
