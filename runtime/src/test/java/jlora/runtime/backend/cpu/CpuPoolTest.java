package jlora.runtime.backend.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;

/** Every item is worked on once, failures reach the caller, and the pool survives them. */
final class CpuPoolTest {
    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 5})
    void everyItemRunsOnceInFixedParts(int threads) {
        try (CpuPool pool = new CpuPool(threads)) {
            for (int items : new int[] {0, 1, 2, 7, 64, 1001}) {
                AtomicIntegerArray seen = new AtomicIntegerArray(items);
                pool.run(
                        items,
                        1,
                        (part, from, to) -> {
                            int parts = Math.min(threads, items);
                            assertEquals((long) items * part / parts, from);
                            for (long i = from; i < to; i++) {
                                seen.incrementAndGet((int) i);
                            }
                        });
                for (int i = 0; i < items; i++) {
                    assertEquals(1, seen.get(i), "item " + i + " of " + items);
                }
            }
        }
    }

    @Test
    void partsHaveAtLeastTheGrain() {
        try (CpuPool pool = new CpuPool(4)) {
            AtomicInteger parts = new AtomicInteger();
            pool.run(30, 10, (part, from, to) -> parts.incrementAndGet());
            assertEquals(3, parts.get());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3})
    void everyTaskRunsOnce(int threads) {
        try (CpuPool pool = new CpuPool(threads)) {
            AtomicIntegerArray seen = new AtomicIntegerArray(100);
            pool.tasks(100, (part, task) -> seen.incrementAndGet(task));
            for (int i = 0; i < 100; i++) {
                assertEquals(1, seen.get(i), "task " + i);
            }
        }
    }

    @Test
    void threadsThatHaveGoneToSleepWakeUp() throws InterruptedException {
        try (CpuPool pool = new CpuPool(3)) {
            for (int round = 0; round < 20; round++) {
                Thread.sleep(2);
                AtomicInteger parts = new AtomicInteger();
                pool.run(3, 1, (part, from, to) -> parts.incrementAndGet());
                assertEquals(3, parts.get());
            }
        }
    }

    @Test
    void aCallerThatWaitsLongIsWokenUp() {
        try (CpuPool pool = new CpuPool(2)) {
            AtomicInteger done = new AtomicInteger();
            pool.run(
                    2,
                    1,
                    (part, from, to) -> {
                        if (part == 1) {
                            sleep();
                        }
                        done.incrementAndGet();
                    });
            assertEquals(2, done.get());
        }
    }

    @Test
    void aFailureReachesTheCallerAndThePoolGoesOn() {
        try (CpuPool pool = new CpuPool(2)) {
            for (int failing = 0; failing < 2; failing++) {
                int bad = failing;
                RuntimeException thrown = new IllegalStateException("part " + bad);
                RuntimeException caught =
                        assertThrows(
                                IllegalStateException.class,
                                () ->
                                        pool.run(
                                                2,
                                                1,
                                                (part, from, to) -> {
                                                    if (part == bad) {
                                                        throw thrown;
                                                    }
                                                }));
                assertSame(thrown, caught);
                AtomicInteger parts = new AtomicInteger();
                pool.run(2, 1, (part, from, to) -> parts.incrementAndGet());
                assertEquals(2, parts.get());
            }
        }
    }

    @Test
    void aParallelStepInsideAnotherIsRefused() {
        try (CpuPool pool = new CpuPool(2)) {
            assertThrows(
                    IllegalStateException.class,
                    () ->
                            pool.run(
                                    2,
                                    1,
                                    (part, from, to) -> {
                                        if (part == 0) {
                                            pool.run(2, 1, (p, f, t) -> {});
                                        }
                                    }));
        }
    }

    @Test
    void aClosedPoolRefusesWork() {
        CpuPool pool = new CpuPool(2);
        pool.close();
        pool.close();
        assertThrows(IllegalStateException.class, () -> pool.run(2, 1, (part, from, to) -> {}));
    }

    @Test
    void anInterruptDoesNotLoseWork() {
        try (CpuPool pool = new CpuPool(2)) {
            AtomicInteger done = new AtomicInteger();
            Thread.currentThread().interrupt();
            pool.run(
                    2,
                    1,
                    (part, from, to) -> {
                        if (part == 1) {
                            sleep();
                        }
                        done.incrementAndGet();
                    });
            assertTrue(Thread.interrupted());
            assertEquals(2, done.get());
        }
    }

    private static void sleep() {
        try {
            Thread.sleep(20);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }
}
