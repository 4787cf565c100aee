package jlora.trainer.job;

import jlora.runtime.backend.Backend;
import jlora.trainer.checkpoint.CheckpointFolder;
import jlora.trainer.checkpoint.ResumePoint;
import jlora.trainer.config.OutputConfig;
import jlora.trainer.config.RunConfig;
import jlora.trainer.launch.Ranks;
import jlora.trainer.metrics.MetricsReader;
import jlora.trainer.metrics.MetricsServer;
import jlora.trainer.metrics.RunEvent;
import jlora.trainer.metrics.RunLog;
import jlora.trainer.metrics.RunPhase;
import jlora.trainer.metrics.RunStatus;
import jlora.trainer.metrics.UsedMemory;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Optional;

/** How a run can be watched from outside: its status, and the server that metrics_port asks for. */
final class RunWatch implements AutoCloseable {
    private final RunLog log;
    private final RunStatus status;
    private final Optional<MetricsServer> server;

    private RunWatch(RunLog log, RunStatus status, Optional<MetricsServer> server) {
        this.log = log;
        this.status = status;
        this.server = server;
    }

    /** The first worker of each machine serves: they all tell the same of the run. */
    static RunWatch open(RunConfig config, Ranks ranks, RunLog log) {
        Duration timeout = Duration.ofNanos((long) (config.job().stepTimeout() * 1e9));
        RunStatus status = new RunStatus(timeout);
        OutputConfig output = config.output();
        String place = config.place("metrics_port").map(p -> p + ": ").orElse("");
        Optional<MetricsServer> server =
                output.metricsPort()
                        .filter(_ -> ranks.localRank() == 0)
                        .map(port -> MetricsServer.open(status, port, place));
        server.map(MetricsServer::port)
                .ifPresent(
                        port ->
                                log.say(
                                        RunEvent.info(
                                                        "metrics_server",
                                                        "/metrics, /ready and /live on port "
                                                                + port)
                                                .with("port", port)));
        return new RunWatch(log, status, server);
    }

    RunStatus status() {
        return status;
    }

    /** The device is open, and what the run does next is read its data. */
    void opened(Backend backend) {
        log.say(RunEvent.info("device", backend.describe()));
        status.device(backend.describe());
        status.phase(RunPhase.TOKENISING);
    }

    /**
     * The run goes on from a checkpoint. The steps that the process before it had logged beyond
     * that are done again.
     */
    void resumed(ResumePoint point, Path outputDir) {
        long step = point.state().progress().step();
        status.resumed(
                step, Math.max(step, MetricsReader.lastStep(outputDir.resolve("metrics.jsonl"))));
        try {
            Path checkpoint = point.checkpoint().path();
            status.checkpoint(step, Files.getLastModifiedTime(checkpoint).toInstant());
        } catch (IOException e) {
            throw new UncheckedIOException(e); // it was read to its last byte just now
        }
    }

    /** A checkpoint was written; on the thread that wrote it. */
    void saved(CheckpointFolder checkpoint) {
        status.checkpoint(checkpoint.step(), Instant.now());
        log.say(
                RunEvent.info("checkpoint", "checkpoint " + checkpoint.path())
                        .with("step", checkpoint.step())
                        .with("path", checkpoint.path()));
    }

    /** The model is loaded: tells what memory it takes from now on. */
    void loaded(TrainJob job, Backend backend) {
        status.memory(job.plan().totalBytes(), () -> UsedMemory.bytes(backend).orElse(0));
    }

    /** The run has ended, well or not. */
    @Override
    public void close() {
        status.phase(RunPhase.DONE);
        server.ifPresent(MetricsServer::close);
    }
}
