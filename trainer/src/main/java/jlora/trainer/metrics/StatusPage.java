package jlora.trainer.metrics;

import jlora.trainer.Version;

import java.util.Map;

/** A run's status as Prometheus metrics; {@code docs/observing.md} lists them. */
final class StatusPage {
    private StatusPage() {}

    static String of(RunStatus run) {
        PrometheusText page = new PrometheusText();
        identity(page, run);
        progress(page, run);
        counts(page, run.totals(), run);
        memory(page, run);
        checkpoints(page, run);
        return page.toString();
    }

    private static void identity(PrometheusText page, RunStatus run) {
        page.info(
                "jlora_build_info",
                "Version of jlora and of Java.",
                Map.of("version", Version.text(), "java", System.getProperty("java.version")));
        if (!run.device().isEmpty()) {
            page.info(
                    "jlora_device_info",
                    "What the run computes on.",
                    Map.of("device", run.device()));
        }
        page.begin("jlora_phase", "gauge", "1 for what the run is doing now, 0 for the rest.");
        RunPhase now = run.phase();
        for (RunPhase phase : RunPhase.values()) {
            page.sample("jlora_phase", Map.of("phase", phase.label()), phase == now ? 1 : 0);
        }
        page.gauge(
                "process_start_time_seconds",
                "Start of the process, in seconds since 1970.",
                run.processStart().toEpochMilli() / 1e3);
        page.gauge(
                "jlora_heartbeat_age_seconds",
                "Time since the run last moved on.",
                run.heartbeatAge());
    }

    private static void progress(PrometheusText page, RunStatus run) {
        page.gauge(
                "jlora_step",
                "Optimizer steps done, those before a resume included.",
                run.doneSteps());
        page.gauge(
                "jlora_resumed_from_step",
                "Step of the checkpoint that the run went on from, 0 for a new run.",
                run.resumedStep());
        run.start()
                .ifPresent(
                        s ->
                                page.gauge(
                                        "jlora_max_steps",
                                        "Optimizer steps of the whole run.",
                                        s.totalSteps()));
        run.step()
                .ifPresent(
                        s ->
                                page.gauge(
                                                "jlora_epoch",
                                                "Passes over the training data done.",
                                                s.epoch())
                                        .gauge(
                                                "jlora_loss",
                                                "Mean loss per trained token of the last step, in"
                                                        + " nats.",
                                                s.loss())
                                        .gauge(
                                                "jlora_grad_norm",
                                                "Norm of the last step's gradients before"
                                                        + " clipping.",
                                                s.gradNorm())
                                        .gauge(
                                                "jlora_learning_rate",
                                                "Learning rate of the last step.",
                                                s.learningRate())
                                        .gauge(
                                                "jlora_tokens_per_second",
                                                "Tokens of the last step over its time.",
                                                s.tokensPerSecond()));
        run.evaluation()
                .ifPresent(
                        e ->
                                page.gauge(
                                                "jlora_eval_loss",
                                                "Mean loss per token of the last evaluation, in"
                                                        + " nats.",
                                                e.loss())
                                        .gauge(
                                                "jlora_eval_step",
                                                "Step of the last evaluation.",
                                                e.step()));
    }

    private static void counts(PrometheusText page, RunStatus.Totals totals, RunStatus run) {
        page.counter("jlora_steps_total", "Optimizer steps of this process.", totals.steps());
        page.counter(
                "jlora_skipped_steps_total",
                "Steps of this process that changed nothing: loss or gradient was not finite.",
                totals.skipped());
        page.counter("jlora_tokens_total", "Tokens trained on by this process.", totals.tokens());
        page.histogram("jlora_step_seconds", "Time of a step.", totals.seconds());
        page.counter(
                "jlora_productive_seconds_total",
                "Time of the steps of this process that brought the run on.",
                totals.productiveSeconds());
        page.gauge(
                "jlora_goodput_ratio",
                "Productive time over the time since the process started.",
                run.goodput());
    }

    private static void memory(PrometheusText page, RunStatus run) {
        run.memory()
                .ifPresent(
                        m -> {
                            page.gauge(
                                    "jlora_memory_planned_bytes",
                                    "Memory of the run by its plan.",
                                    m.planned());
                            m.used()
                                    .ifPresent(
                                            used ->
                                                    page.gauge(
                                                            "jlora_memory_used_bytes",
                                                            "Memory taken: of the GPU by the"
                                                                + " driver's count, on a CPU the"
                                                                + " process's resident memory.",
                                                            used));
                        });
        ResidentMemory.bytes()
                .ifPresent(
                        bytes ->
                                page.gauge(
                                        "process_resident_memory_bytes",
                                        "Memory of the process that is in RAM.",
                                        bytes));
    }

    private static void checkpoints(PrometheusText page, RunStatus run) {
        page.counter(
                "jlora_checkpoints_total",
                "Checkpoints that this process wrote or went on from.",
                run.checkpoints());
        run.checkpoint()
                .ifPresent(
                        c ->
                                page.gauge(
                                                "jlora_last_checkpoint_step",
                                                "Step of the newest checkpoint.",
                                                c.step())
                                        .gauge(
                                                "jlora_last_checkpoint_age_seconds",
                                                "Time since the newest checkpoint was complete.",
                                                run.secondsSince(c.nanos())));
    }
}
