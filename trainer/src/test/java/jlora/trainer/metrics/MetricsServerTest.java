package jlora.trainer.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

@Timeout(30)
class MetricsServerTest {
    private final ManualClock clock = new ManualClock();
    private final RunStatus run = clock.run(30);
    private final MetricsServer server = MetricsServer.open(run, 0, "");
    private final HttpClient client = HttpClient.newHttpClient();

    @AfterEach
    void close() {
        client.close();
        server.close();
    }

    private HttpResponse<String> send(String method, String path)
            throws IOException, InterruptedException {
        URI uri = URI.create("http://localhost:" + server.port() + path);
        return client.send(
                HttpRequest.newBuilder(uri)
                        .method(method, HttpRequest.BodyPublishers.noBody())
                        .build(),
                HttpResponse.BodyHandlers.ofString());
    }

    private String answer(int status, String path) throws IOException, InterruptedException {
        HttpResponse<String> response = send("GET", path);
        assertEquals(status, response.statusCode(), response.body());
        return response.body();
    }

    private void start() {
        run.started(new RunStart(0, 0, 1000, 1, 10, Optional.empty(), 4));
    }

    @Test
    void metricsAreInPrometheusTextFormat() throws Exception {
        start();
        run.step(new StepMetrics(1, 0.1, 2.5, 0.5, 1e-4, 100, 0.25));
        HttpResponse<String> response = send("GET", "/metrics");
        assertEquals(
                Optional.of("text/plain; version=0.0.4; charset=utf-8"),
                response.headers().firstValue("Content-Type"));
        PrometheusPage page = PrometheusPage.parse(response.body());
        assertEquals(2.5, page.value("jlora_loss"));
        assertTrue(
                page.samples().stream().anyMatch(s -> s.startsWith("jlora_build_info{java=")),
                response.body());
        assertTrue(page.value("process_resident_memory_bytes") > 1 << 20);
    }

    @Test
    void readyIsFromTheLoadedModelToTheEnd() throws Exception {
        assertEquals("not ready: the model is not loaded yet\n", answer(503, "/ready"));
        run.phase(RunPhase.TOKENISING);
        assertTrue(answer(503, "/ready").startsWith("not ready: the data is being tokenised"));
        run.phase(RunPhase.LOADING);
        answer(503, "/ready");
        start();
        assertEquals("ready: training\n", answer(200, "/ready"));
        run.phase(RunPhase.EVALUATING);
        assertEquals("ready: evaluating\n", answer(200, "/ready"));
        run.phase(RunPhase.SAVING);
        answer(200, "/ready");
        run.phase(RunPhase.DONE);
        assertEquals("not ready: the run has ended\n", answer(503, "/ready"));
    }

    @Test
    void liveSaysForHowLongNothingMoved() throws Exception {
        start();
        clock.pass(12.5);
        assertEquals(
                "live: training, last sign of life 12.5 s ago, step_timeout 30.0 s\n",
                answer(200, "/live"));
        clock.pass(20);
        assertEquals(
                "stuck: training, last sign of life 32.5 s ago, step_timeout 30.0 s\n",
                answer(503, "/live"));
        run.heartbeat();
        answer(200, "/live");
    }

    @Test
    void onlyTheKnownPathsAndMethodsAreServed() throws Exception {
        for (String path : List.of("/", "/metrics/", "/metrics2", "/ready/x", "/..%2fetc")) {
            assertEquals("here are /metrics, /ready and /live\n", answer(404, path));
        }
        HttpResponse<String> posted = send("POST", "/metrics");
        assertEquals(405, posted.statusCode());
        assertEquals(Optional.of("GET, HEAD"), posted.headers().firstValue("Allow"));
        HttpResponse<String> head = send("HEAD", "/metrics");
        assertEquals(200, head.statusCode());
        assertEquals("", head.body());
    }

    @Test
    void aPortInUseIsOneSentenceThatNamesTheKey() {
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () -> MetricsServer.open(run, server.port(), "run.yaml:3: "));
        assertEquals(ExitCode.USAGE, e.exitCode());
        assertEquals(
                "run.yaml:3: metrics_port "
                        + server.port()
                        + " cannot be opened (address already in use); choose another, or 0 for"
                        + " one that is free.",
                e.getMessage());
    }

    @Test
    void clientsThatStallKeepNeitherTheRunNorOthersWaiting() throws Exception {
        start();
        List<Socket> stalled = new ArrayList<>();
        try {
            for (int i = 0; i < 40; i++) {
                Socket socket = new Socket(InetAddress.getLoopbackAddress(), server.port());
                stalled.add(socket);
                // Half of them never end their request, the others never read the answers.
                String request =
                        "GET /metrics HTTP/1.1\r\nHost: x\r\n" + (i % 2 == 0 ? "" : "\r\n");
                int times = i % 2 == 0 ? 1 : 50;
                socket.getOutputStream()
                        .write(request.repeat(times).getBytes(StandardCharsets.US_ASCII));
                socket.getOutputStream().flush();
            }
            long begin = System.nanoTime();
            for (int i = 1; i <= 1000; i++) {
                run.step(new StepMetrics(i, 0.1, 2.5, 0.5, 1e-4, 100, 0.25));
            }
            double stepMicros = (System.nanoTime() - begin) / 1e3 / 1000;
            assertTrue(stepMicros < 1000, stepMicros + " µs per step");
            PrometheusPage page = PrometheusPage.parse(answer(200, "/metrics"));
            assertEquals(1000, page.value("jlora_step"));
            answer(200, "/ready");
        } finally {
            for (Socket socket : stalled) {
                socket.close();
            }
        }
    }

    @Test
    void pagesReadDuringStepsAreWhole() throws Exception {
        start();
        Thread training =
                Thread.ofPlatform()
                        .start(
                                () -> {
                                    for (int i = 1; i <= 20_000; i++) {
                                        run.step(
                                                new StepMetrics(
                                                        i, 0.1, i, i, 1e-4, 3, i % 7 / 50.0));
                                    }
                                });
        long last = 0;
        do {
            PrometheusPage page = PrometheusPage.parse(StatusPage.of(run));
            double steps = page.value("jlora_steps_total");
            assertEquals(3 * steps, page.value("jlora_tokens_total"));
            assertEquals(steps, page.value("jlora_step_seconds_bucket", Map.of("le", "+Inf")));
            assertTrue(steps >= last);
            last = (long) steps;
        } while (training.isAlive());
        training.join();
    }

    @Test
    void afterClosingNobodyListens() throws Exception {
        answer(200, "/metrics");
        server.close();
        server.close();
        assertThrows(ConnectException.class, () -> send("GET", "/metrics"));
    }

    @Test
    void theProcessMayEndWhileItServes() {
        assertTrue(
                Thread.getAllStackTraces().keySet().stream()
                        .filter(t -> t.getName().startsWith("HTTP-Dispatcher"))
                        .allMatch(Thread::isDaemon));
    }
}
