package jlora.trainer.loop;

import java.util.OptionalLong;

/**
 * Memory that a run asked for once, for as long as it lasts.
 *
 * @param label of what it holds
 * @param bytes asked for
 * @param counted by how much the memory in use grew by the count of somebody else; empty where
 *     nobody counts
 */
public record Allocation(String label, long bytes, OptionalLong counted) {}
