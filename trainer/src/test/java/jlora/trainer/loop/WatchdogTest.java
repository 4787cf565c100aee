package jlora.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

class WatchdogTest {
    private final BlockingQueue<String> bites = new LinkedBlockingQueue<>();

    @Test
    void bitesWhenABeatIsMissing() throws InterruptedException {
        long start = System.nanoTime();
        try (Watchdog watchdog = new Watchdog(Duration.ofMillis(300), bites::add)) {
            watchdog.beat("step 3");
            assertEquals("step 3", bites.poll(20, TimeUnit.SECONDS));
            assertTrue(System.nanoTime() - start >= 300_000_000);
            assertNull(bites.poll(400, TimeUnit.MILLISECONDS), "once is enough");
        }
    }

    @Test
    void leavesAloneWhatBeatsRestsOrIsClosed() throws InterruptedException {
        Watchdog watchdog = new Watchdog(Duration.ofMillis(600), bites::add);
        watchdog.beat("step 1");
        Thread.sleep(300);
        watchdog.beat("step 2");
        Thread.sleep(300);
        watchdog.rest();
        Thread.sleep(700);
        watchdog.beat("step 3");
        watchdog.close();
        assertNull(bites.poll(800, TimeUnit.MILLISECONDS));
    }

    @Test
    void zeroWatchesNothing() throws InterruptedException {
        try (Watchdog watchdog = new Watchdog(Duration.ZERO, bites::add)) {
            watchdog.beat("step 1");
            assertNull(bites.poll(100, TimeUnit.MILLISECONDS));
        }
    }
}
