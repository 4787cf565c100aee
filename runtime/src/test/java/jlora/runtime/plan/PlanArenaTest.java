package jlora.runtime.plan;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Random;

/** The bytes that running plans really use, on the CPU backend with its native products. */
class PlanArenaTest {
    private static final long GUARD = 4096;
    private static final byte POISON = (byte) 0xFF;

    private static Backend backend;

    @BeforeAll
    static void open() {
        backend = new CpuBackend(new CpuOptions(2, ProductLibrary.AUTO));
    }

    @AfterAll
    static void close() {
        backend.close();
    }

    static List<TracedModel.Setup> setups() {
        return TracedModel.Setup.all();
    }

    private static List<Recompute> modes(TracedModel model) {
        long none = model.plan(Recompute.none()).arenaBytes();
        long full = model.plan(Recompute.full()).arenaBytes();
        return List.of(Recompute.none(), Recompute.auto((none + full) / 2), Recompute.full());
    }

    /**
     * 0xFF everywhere is NaN in both types, so a read of anything that this run did not write
     * shows.
     */
    @ParameterizedTest
    @MethodSource("setups")
    void usesThePlannedBytesAndNoOthers(TracedModel.Setup setup) {
        try (TracedModel model = new TracedModel(setup)) {
            model.load(backend);
            for (Recompute mode : modes(model)) {
                Plan plan = model.plan(mode);
                try (MemoryArena arena =
                        backend.allocate("guarded", plan.arenaBytes() + 2 * GUARD)) {
                    MemorySegment bytes = arena.segment();
                    bytes.fill(POISON);
                    for (Storage storage : ArenaUse.storages(plan)) {
                        arena.place(storage, GUARD + plan.offset(storage));
                    }
                    for (float value : model.run(backend, plan)) {
                        assertTrue(
                                Float.isFinite(value),
                                () -> "result " + value + " from an arena of NaN");
                    }
                    assertEquals(
                            -1, firstTouched(bytes.asSlice(0, GUARD)), "bytes before the arena");
                    assertEquals(
                            -1,
                            firstTouched(bytes.asSlice(GUARD + plan.arenaBytes(), GUARD)),
                            "bytes behind the arena");
                    long used = lastTouched(bytes.asSlice(GUARD, plan.arenaBytes())) + 1;
                    assertEquals(
                            plan.arenaBytes(), MemoryArena.align(used), "bytes used of the arena");
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("setups")
    void whatAnArenaHeldBeforeChangesNoBit(TracedModel.Setup setup) {
        try (TracedModel model = new TracedModel(setup)) {
            model.load(backend);
            for (Recompute mode : modes(model)) {
                Plan plan = model.plan(mode);
                try (MemoryArena arena = backend.allocate("exact", plan.arenaBytes())) {
                    plan.bind(arena);
                    float[] fresh = model.run(backend, plan);
                    float[] again = model.run(backend, plan);
                    byte[] noise = new byte[(int) plan.arenaBytes()];
                    new Random(3).nextBytes(noise);
                    arena.segment().copyFrom(MemorySegment.ofArray(noise));
                    float[] afterNoise = model.run(backend, plan);
                    assertArrayEquals(bits(fresh), bits(again));
                    assertArrayEquals(bits(fresh), bits(afterNoise));
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("setups")
    void oneByteLessIsRefused(TracedModel.Setup setup) {
        try (TracedModel model = new TracedModel(setup)) {
            Plan plan = model.plan(Recompute.none());
            try (MemoryArena small =
                    backend.allocate("small", plan.arenaBytes() - MemoryArena.ALIGNMENT)) {
                assertThrows(IllegalArgumentException.class, () -> plan.bind(small));
            }
        }
    }

    /** Losses and gradients are compared as bits, so that -0 and NaN count. */
    private static int[] bits(float[] values) {
        int[] bits = new int[values.length];
        for (int i = 0; i < bits.length; i++) {
            bits[i] = Float.floatToRawIntBits(values[i]);
        }
        return bits;
    }

    private static long firstTouched(MemorySegment bytes) {
        for (long i = 0; i < bytes.byteSize(); i++) {
            if (bytes.get(ValueLayout.JAVA_BYTE, i) != POISON) {
                return i;
            }
        }
        return -1;
    }

    private static long lastTouched(MemorySegment bytes) {
        for (long i = bytes.byteSize() - 1; i >= 0; i--) {
            if (bytes.get(ValueLayout.JAVA_BYTE, i) != POISON) {
                return i;
            }
        }
        return -1;
    }
}
