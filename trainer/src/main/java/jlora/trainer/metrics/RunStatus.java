package jlora.trainer.metrics;

import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.LongSupplier;

/**
 * How a run stands, for whoever asks at any time. The run writes and never waits; readers see each
 * value whole. The counts are of this process: after a resume they begin at 0, and {@link
 * RunStart#doneSteps} tells what came before.
 */
public final class RunStatus implements StepListener {
    /** Reading device memory is a call of the driver: not in every step of a millisecond. */
    private static final long MEMORY_NANOS = 1_000_000_000L;

    /**
     * What the steps of this process add up to.
     *
     * @param steps done, the skipped ones included
     * @param skipped steps that changed nothing because their loss or gradient was not finite
     * @param tokens that went through the model
     * @param productiveSeconds time of the steps that brought the run on: neither skipped nor done
     *     before the process that was resumed ended
     * @param seconds of each step
     */
    record Totals(
            long steps, long skipped, long tokens, double productiveSeconds, Histogram seconds) {}

    /**
     * @param nanos when it was complete, by the monotonic clock
     */
    record Checkpoint(long step, long nanos) {}

    /**
     * @param planned bytes that the plan counts
     * @param used bytes that were taken when last asked; empty where nobody counts
     */
    record Memory(long planned, OptionalLong used) {}

    private final Duration timeout;
    private final InstantSource clock;
    private final LongSupplier nanoTime;
    private final Instant processStart;
    private final long processStartNanos;

    private volatile RunPhase phase = RunPhase.LOADING;
    private volatile long heartbeatNanos;
    private volatile String device = "";
    private volatile long resumedStep;
    private volatile long reachedStep;
    private volatile Optional<RunStart> start = Optional.empty();
    private volatile Optional<StepMetrics> step = Optional.empty();
    private volatile Optional<EvalMetrics> evaluation = Optional.empty();
    private volatile Optional<Checkpoint> checkpoint = Optional.empty();
    private volatile long checkpoints;
    private volatile Optional<Memory> memory = Optional.empty();
    private volatile Totals totals = new Totals(0, 0, 0, 0, Histogram.EMPTY);

    private LongSupplier usedBytes = () -> 0;
    private long memoryNanos;

    /**
     * @param timeout without a heartbeat for longer the run counts as stuck; zero for never
     */
    public RunStatus(Duration timeout) {
        this(
                timeout,
                Instant.ofEpochMilli(ManagementFactory.getRuntimeMXBean().getStartTime()),
                InstantSource.system(),
                System::nanoTime);
    }

    RunStatus(Duration timeout, Instant processStart, InstantSource clock, LongSupplier nanoTime) {
        this.timeout = timeout;
        this.clock = clock;
        this.nanoTime = nanoTime;
        this.processStart = processStart;
        this.processStartNanos = at(processStart);
        heartbeat();
    }

    /** A time of the wall clock on the monotonic one. */
    private long at(Instant instant) {
        return nanoTime.getAsLong() - Duration.between(instant, clock.instant()).toNanos();
    }

    /** The run turns to something else; any thread. */
    @Override
    public void phase(RunPhase next) {
        phase = next;
        heartbeat();
    }

    /** The run has moved on, if only a little; any thread. */
    public void heartbeat() {
        heartbeatNanos = nanoTime.getAsLong();
    }

    /** What the run is on, in words. */
    public void device(String description) {
        device = description;
    }

    /** A checkpoint is complete, or was found to go on from; any thread. */
    public synchronized void checkpoint(long atStep, Instant when) {
        checkpoint = Optional.of(new Checkpoint(atStep, at(when)));
        checkpoints++;
        heartbeat();
    }

    /**
     * What memory the run takes.
     *
     * @param planned bytes by the plan
     * @param used asks for the bytes taken; called here and with steps and evaluations, on the
     *     run's own thread, at most once a second
     */
    public void memory(long planned, LongSupplier used) {
        usedBytes = used;
        measure(planned);
    }

    /** The run goes on after a step that an earlier process had committed. */
    public void resumed(long fromStep) {
        resumed(fromStep, fromStep);
    }

    /**
     * @param reached the last step that the earlier process did: those after {@code fromStep} are
     *     done again and bring the run on no more
     */
    public void resumed(long fromStep, long reached) {
        resumedStep = fromStep;
        reachedStep = reached;
    }

    @Override
    public void started(RunStart run) {
        start = Optional.of(run);
        phase(RunPhase.TRAINING);
    }

    @Override
    public void step(StepMetrics metrics) {
        LastStep.finished(metrics.step());
        boolean productive = !metrics.skipped() && metrics.step() > reachedStep;
        Totals before = totals;
        totals =
                new Totals(
                        before.steps + 1,
                        before.skipped + (metrics.skipped() ? 1 : 0),
                        before.tokens + metrics.tokens(),
                        before.productiveSeconds + (productive ? metrics.seconds() : 0),
                        before.seconds.with(metrics.seconds()));
        step = Optional.of(metrics);
        heartbeat();
        measureSometimes();
    }

    @Override
    public void evaluated(EvalMetrics metrics) {
        evaluation = Optional.of(metrics);
        heartbeat();
        measureSometimes();
    }

    @Override
    public void finished() {
        heartbeat();
    }

    private void measureSometimes() {
        if (memory.isPresent() && nanoTime.getAsLong() - memoryNanos >= MEMORY_NANOS) {
            measure(memory.get().planned);
        }
    }

    private void measure(long planned) {
        memoryNanos = nanoTime.getAsLong();
        long used = usedBytes.getAsLong();
        memory =
                Optional.of(
                        new Memory(
                                planned, used > 0 ? OptionalLong.of(used) : OptionalLong.empty()));
    }

    RunPhase phase() {
        return phase;
    }

    String device() {
        return device;
    }

    Optional<RunStart> start() {
        return start;
    }

    /** The last step of this process. */
    Optional<StepMetrics> step() {
        return step;
    }

    /** Steps done by this process and those before it. */
    long doneSteps() {
        return step.map(StepMetrics::step)
                .or(() -> start.map(RunStart::doneSteps))
                .orElse(resumedStep);
    }

    Optional<EvalMetrics> evaluation() {
        return evaluation;
    }

    Optional<Checkpoint> checkpoint() {
        return checkpoint;
    }

    long checkpoints() {
        return checkpoints;
    }

    Optional<Memory> memory() {
        return memory;
    }

    Totals totals() {
        return totals;
    }

    /** The step that the run goes on after; 0 for a new one. */
    long resumedStep() {
        return resumedStep;
    }

    Instant processStart() {
        return processStart;
    }

    double secondsSince(long nanos) {
        return Math.max(0, nanoTime.getAsLong() - nanos) / 1e9;
    }

    double heartbeatAge() {
        return secondsSince(heartbeatNanos);
    }

    /** Share of the process's time that brought the run on, 0 to 1. */
    double goodput() {
        double wall = secondsSince(processStartNanos);
        return wall > 0 ? Math.min(1, totals.productiveSeconds / wall) : 0;
    }

    /** Whether the last sign of life is younger than the timeout, or the run has ended well. */
    boolean live() {
        return timeout.isZero()
                || phase == RunPhase.DONE
                || heartbeatAge() < timeout.toNanos() / 1e9;
    }

    Duration timeout() {
        return timeout;
    }
}
