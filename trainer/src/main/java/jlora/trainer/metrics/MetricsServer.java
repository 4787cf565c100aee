package jlora.trainer.metrics;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;

import jlora.runtime.JloraException;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Locale;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Serves a run's metrics and health by HTTP: {@code /metrics} for Prometheus, {@code /ready} and
 * {@code /live} for Kubernetes. It reads the status and nothing else, on threads that keep neither
 * the run waiting nor the process alive. It listens on all addresses, since whoever scrapes is
 * elsewhere.
 */
public final class MetricsServer implements AutoCloseable {
    private static final String PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8";
    private static final String TEXT = "text/plain; charset=utf-8";

    /**
     * @param line one line in words
     */
    private record Answer(int status, String type, String body) {
        static Answer line(int status, String line) {
            return new Answer(status, TEXT, line + "\n");
        }
    }

    private final RunStatus run;
    private final HttpServer server;
    private final ExecutorService threads;

    private MetricsServer(RunStatus run, HttpServer server) {
        this.run = run;
        this.server = server;
        // A thread per request: who reads slowly keeps nobody else waiting.
        this.threads =
                Executors.newThreadPerTaskExecutor(
                        Thread.ofVirtual().name("metrics-", 0).factory());
    }

    /**
     * @param port 0 for any free one
     * @param place where the port was given, for messages; ends in a colon and a space, or is empty
     * @throws JloraException exit code 2 if the port cannot be opened
     */
    public static MetricsServer open(RunStatus run, int port, String place) {
        HttpServer http;
        try {
            http = HttpServer.create(new InetSocketAddress(port), 0);
        } catch (IOException e) {
            throw JloraException.usage(
                    place
                            + "metrics_port "
                            + port
                            + " cannot be opened ("
                            + e.getMessage().toLowerCase(Locale.ROOT)
                            + "); choose another, or 0 for one that is free.");
        }
        MetricsServer server = new MetricsServer(run, http);
        http.createContext("/", server::handle);
        http.setExecutor(server.threads);
        server.start();
        return server;
    }

    /** The dispatcher's thread is a daemon if the one that starts it is. */
    private void start() {
        Thread starter = Thread.ofPlatform().daemon().name("metrics-start").start(server::start);
        try {
            starter.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Where it listens. */
    public int port() {
        return server.getAddress().getPort();
    }

    private void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            String method = exchange.getRequestMethod();
            boolean get = method.equals("GET");
            Answer answer =
                    get || method.equals("HEAD")
                            ? answer(exchange.getRequestURI().getPath())
                            : Answer.line(405, "only GET and HEAD are known here");
            byte[] body = answer.body.getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", answer.type);
            if (answer.status == 405) {
                exchange.getResponseHeaders().set("Allow", "GET, HEAD");
            }
            if (method.equals("HEAD")) {
                exchange.getResponseHeaders().set("Content-Length", Integer.toString(body.length));
                exchange.sendResponseHeaders(answer.status, -1);
            } else {
                exchange.sendResponseHeaders(answer.status, body.length);
                exchange.getResponseBody().write(body);
            }
        }
    }

    private Answer answer(String path) {
        return switch (path) {
            case "/metrics" -> new Answer(200, PROMETHEUS, StatusPage.of(run));
            case "/ready" -> {
                RunPhase phase = run.phase();
                yield phase.ready()
                        ? Answer.line(200, "ready: " + phase.text())
                        : Answer.line(503, "not ready: " + phase.text());
            }
            case "/live" -> live();
            default -> Answer.line(404, "here are /metrics, /ready and /live");
        };
    }

    private Answer live() {
        String sign =
                String.format(
                        Locale.ROOT,
                        "%s, last sign of life %.1f s ago, step_timeout %s s",
                        run.phase().label(),
                        run.heartbeatAge(),
                        run.timeout().toMillis() / 1e3);
        return run.live() ? Answer.line(200, "live: " + sign) : Answer.line(503, "stuck: " + sign);
    }

    /** Twice is fine. */
    @Override
    public void close() {
        server.stop(0);
        threads.shutdownNow();
    }
}
