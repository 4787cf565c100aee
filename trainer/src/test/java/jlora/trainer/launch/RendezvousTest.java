package jlora.trainer.launch;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;

/** The first meeting of workers, over the loopback. */
class RendezvousTest {
    private static final Duration ENOUGH = Duration.ofSeconds(20);
    private static final Duration SHORT = Duration.ofMillis(700);

    private int port;
    private byte[] id;

    @BeforeEach
    void choose() throws IOException {
        try (ServerSocket free = new ServerSocket(0)) {
            port = free.getLocalPort();
        }
        id = new byte[128];
        new Random(port).nextBytes(id);
    }

    private Ranks rank(int rank, int of) {
        return new Ranks(rank, of, rank, 0, Optional.of("127.0.0.1"), port, Ranks.Source.TORCHRUN);
    }

    private List<Future<byte[]>> others(ExecutorService threads, int of) {
        return IntStream.range(1, of)
                .mapToObj(r -> threads.submit(() -> new Rendezvous(rank(r, of), ENOUGH).get(128)))
                .toList();
    }

    @Test
    void allRanksGetTheBytesWhicheverComesFirst() throws Exception {
        try (ExecutorService threads = Executors.newCachedThreadPool()) {
            List<Future<byte[]>> others = new ArrayList<>(others(threads, 4));
            Thread.sleep(200); // they knock before anybody listens
            new Rendezvous(rank(0, 4), ENOUGH).give(id);
            for (Future<byte[]> other : others) {
                assertArrayEquals(id, other.get());
            }
        }
    }

    @Test
    void strangersAreHungUpOn() throws Exception {
        try (ExecutorService threads = Executors.newCachedThreadPool()) {
            Future<?> first = threads.submit(() -> new Rendezvous(rank(0, 2), ENOUGH).give(id));
            byte[][] greetings = {
                "GET / HTTP/1.1\r\n\r\n".getBytes(StandardCharsets.US_ASCII), new byte[64], {1}
            };
            for (byte[] greeting : greetings) {
                try (Socket stranger = connect()) {
                    stranger.getOutputStream().write(greeting);
                    stranger.shutdownOutput();
                    assertEquals(0, bytesUntilHungUp(stranger), "a stranger got an answer");
                }
            }
            assertArrayEquals(id, others(threads, 2).getFirst().get());
            first.get();
        }
    }

    private static int bytesUntilHungUp(Socket stranger) {
        try {
            return stranger.getInputStream().readAllBytes().length;
        } catch (IOException e) {
            return 0; // hung up with what was sent unread
        }
    }

    private Socket connect() throws InterruptedException {
        while (true) {
            try {
                return new Socket(InetAddress.getLoopbackAddress(), port);
            } catch (IOException e) {
                Thread.sleep(20);
            }
        }
    }

    @Test
    void aRankOfAnotherRunIsTold() throws Exception {
        try (ExecutorService threads = Executors.newCachedThreadPool()) {
            Future<?> first = threads.submit(() -> new Rendezvous(rank(0, 2), ENOUGH).give(id));
            JloraException other =
                    assertThrows(
                            JloraException.class,
                            () -> new Rendezvous(rank(1, 3), ENOUGH).get(128));
            assertEquals(ExitCode.USAGE, other.exitCode());
            assertTrue(other.getMessage().contains("a run of 3 workers"), other.getMessage());
            assertArrayEquals(id, new Rendezvous(rank(1, 2), ENOUGH).get(128));
            first.get();
        }
    }

    @Test
    void aRankThatNeverComesIsNamedWhenTheTimeIsOver() {
        JloraException alone =
                assertThrows(
                        JloraException.class, () -> new Rendezvous(rank(0, 3), SHORT).give(id));
        assertEquals(ExitCode.HANG, alone.exitCode());
        assertTrue(alone.getMessage().contains("{1, 2}"), alone.getMessage());
        JloraException knocking =
                assertThrows(
                        JloraException.class, () -> new Rendezvous(rank(1, 2), SHORT).get(128));
        assertEquals(ExitCode.HANG, knocking.exitCode());
        assertTrue(knocking.getMessage().contains("127.0.0.1:" + port), knocking.getMessage());
    }

    @Test
    void aPortInUseIsNamed() throws IOException, InterruptedException, ExecutionException {
        try (ServerSocket taken = new ServerSocket(port)) {
            JloraException refused =
                    assertThrows(
                            JloraException.class,
                            () -> new Rendezvous(rank(0, 2), ENOUGH).give(id));
            assertEquals(ExitCode.USAGE, refused.exitCode());
            assertTrue(refused.getMessage().contains("port " + taken.getLocalPort()));
        }
    }
}
