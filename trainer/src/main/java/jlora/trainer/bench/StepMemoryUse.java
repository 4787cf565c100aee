package jlora.trainer.bench;

/**
 * What a run was planned to take, and what it takes.
 *
 * @param plannedBytes the plan's total and what the backend reserves for itself
 * @param usedBytes what the driver counts as taken since before the backend allocated anything; 0
 *     where nobody counts
 */
public record StepMemoryUse(long plannedBytes, long usedBytes) {}
