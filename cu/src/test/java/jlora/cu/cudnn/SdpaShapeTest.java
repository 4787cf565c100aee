package jlora.cu.cudnn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.util.Optional;

class SdpaShapeTest {
    private static final SdpaShape SHAPE = shape(128, 12 * 128, true, 0);

    private static SdpaShape shape(int headDim, long qkvStride, boolean causal, int window) {
        return new SdpaShape(
                512, 3, 200, 8, 2, headDim, qkvStride, 8L * headDim, 0.1f, causal, window);
    }

    @Test
    void columnsFollowEachOther() {
        assertEquals(8 * 128, SHAPE.kColumn());
        assertEquals(10 * 128, SHAPE.vColumn());
        assertEquals(12 * 128, SHAPE.qkvColumns());
        assertEquals(4, SHAPE.group());
    }

    @Test
    void refusesWhatKernelsCannotRead() {
        String tooFew = refusal(() -> shape(128, 12 * 128 - 8, true, 0));
        assertTrue(tooFew.contains("1528 elements apart for 1536 columns"), tooFew);
        assertThrows(IllegalArgumentException.class, () -> shape(128, 12 * 128 + 4, true, 0));
        assertThrows(IllegalArgumentException.class, () -> shape(128, 12 * 128, false, 64));
        assertThrows(
                IllegalArgumentException.class,
                () -> new SdpaShape(64, 1, 65, 1, 1, 64, 192, 64, 1, true, 0));
        assertThrows(
                IllegalArgumentException.class,
                () -> new SdpaShape(64, 1, 64, 6, 4, 64, 2048, 384, 1, true, 0));
    }

    private static String refusal(Runnable body) {
        return assertThrows(IllegalArgumentException.class, body::run).getMessage();
    }

    @Test
    void sequencesLieInOneBlockAndAdvanceTogether() {
        SdpaSequences all = SdpaSequences.at(4096, 4);
        assertEquals(48, SdpaSequences.row(4));
        assertEquals(5 * 48 + 16, SdpaSequences.bytes(4));
        assertEquals(
                new SdpaSequences(4096 + 240, 4096, 4096 + 48, 4096 + 96, 4096 + 144, 4096 + 192),
                all);
        assertEquals(
                new SdpaSequences(
                        all.lengths() + 12,
                        all.qkvOffsets() + 24,
                        all.outOffsets() + 24,
                        all.lseOffsets() + 24,
                        all.dOutOffsets() + 24,
                        all.dQkvOffsets() + 24),
                all.from(3));
    }

    @Test
    void knowsWhatVersionsAndDevicesLack() {
        assertEquals(Optional.empty(), SdpaSupport.againstForward(91002, 90, SHAPE));
        assertSays("9.10.2", SdpaSupport.againstForward(91001, 90, SHAPE));
        assertSays("9.18.1", SdpaSupport.againstForward(91800, 86, SHAPE));
        assertEquals(Optional.empty(), SdpaSupport.againstForward(91801, 120, SHAPE));
        assertSays("capability 8.0", SdpaSupport.againstForward(92400, 75, SHAPE));
        assertSays(
                "multiple of 8", SdpaSupport.againstForward(92400, 90, shape(100, 1200, true, 0)));
        assertEquals(Optional.empty(), SdpaSupport.againstBackward(91002, 90, SHAPE));
        assertSays("9.18.0", SdpaSupport.againstBackward(91500, 100, SHAPE));
        assertEquals(Optional.empty(), SdpaSupport.againstBackward(91800, 100, SHAPE));
        assertSays("only on 9.0 and 10.x", SdpaSupport.againstBackward(92400, 89, SHAPE));
        assertSays("only on 9.0 and 10.x", SdpaSupport.againstBackward(92400, 120, SHAPE));
    }

    private static void assertSays(String part, Optional<String> against) {
        assertTrue(against.orElse("nothing").contains(part), against::toString);
    }
}
