package jlora.trainer.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.util.OptionalDouble;

/** When a rate may be compared with that of the copy: 40 GB/s here, and a cache of 32 MB. */
class KernelRowTest {
    private static final Ceilings CEILINGS =
            new Ceilings(200e9, 40e9, 2048, 256L << 20, 32_000_000);

    /** Bytes are read once and written once, so that operands are half of what is moved. */
    private static KernelRow row(long operandBytes, double gigabytesPerSecond) {
        long bytes = 2 * operandBytes;
        double milliseconds = bytes / gigabytesPerSecond / 1e6;
        return new KernelRow("op", "1 x 1", 3, bytes, operandBytes, 0, milliseconds);
    }

    @Test
    void operandsBeyondTheCacheAreComparedWithTheCopy() {
        KernelRow slow = row(64_000_000, 30);
        assertFalse(slow.inCache(CEILINGS));
        assertEquals(0.75, slow.ofCopy(CEILINGS).orElseThrow(), 1e-9);
        assertEquals("75%", Rates.ofCopy(slow, CEILINGS));
        // 3 calls of 128 MB take 4.27 ms each where the copy would take 3.2.
        assertEquals(3 * (128 / 30.0 - 128 / 40.0), slow.lostMilliseconds(CEILINGS), 1e-9);
    }

    @Test
    void operandsInTheCacheGiveAnUpperBoundOrNothing() {
        KernelRow slow = row(32_000_000, 10);
        assertTrue(slow.inCache(CEILINGS));
        assertEquals("at most 25%", Rates.ofCopy(slow, CEILINGS));
        assertEquals("at most 2.5%", Rates.ofCopy(row(32_000_000, 1), CEILINGS));
        KernelRow fast = row(32_000_000, 56);
        assertEquals(OptionalDouble.empty(), fast.ofCopy(CEILINGS));
        assertEquals("in cache", Rates.ofCopy(fast, CEILINGS));
        assertEquals(0, fast.lostMilliseconds(CEILINGS));
    }

    /** Of 64 MB the cache can hold half: at most twice the copy's rate is its doing. */
    @Test
    void aCacheExplainsNoMoreThanItHolds() {
        assertEquals("in cache", Rates.ofCopy(row(64_000_000, 79), CEILINGS));
        assertEquals("203%", Rates.ofCopy(row(64_000_000, 81), CEILINGS));
        // Reading is cheaper than writing: a little over the copy, far beyond the cache.
        assertEquals("105%", Rates.ofCopy(row(4_000_000_000L, 42), CEILINGS));
    }

    @Test
    void aCacheThatIsNotKnownExplainsNothing() {
        Ceilings unknown = new Ceilings(200e9, 40e9, 2048, 256L << 20, 0);
        assertEquals("140%", Rates.ofCopy(row(1000, 56), unknown));
    }

    @Test
    void theLongerOfTheTwoFloorsLimits() {
        // 40 GB/s and 200 GFLOP/s: five operations a byte.
        KernelRow products = new KernelRow("linear", "", 1, 1000, 1000, 5001, 1);
        KernelRow moves = new KernelRow("rope", "", 1, 1000, 1000, 5000, 1);
        assertFalse(products.memoryBound(CEILINGS));
        assertTrue(moves.memoryBound(CEILINGS));
        assertEquals("arithmetic", Rates.limit(products, CEILINGS));
    }
}
