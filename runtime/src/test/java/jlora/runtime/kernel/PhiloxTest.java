package jlora.runtime.kernel;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** Philox4x32-10 against the known answers that its authors publish with Random123. */
final class PhiloxTest {
    private static int[] words(int k0, int k1, int c0, int c1, int c2, int c3) {
        int[] out = new int[Philox.WORDS];
        Philox.words(out, 0, k0, k1, c0, c1, c2, c3);
        return out;
    }

    @Test
    void answersForZeros() {
        assertArrayEquals(
                new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                words(0, 0, 0, 0, 0, 0));
    }

    @Test
    void answersForOnes() {
        assertArrayEquals(
                new int[] {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                words(-1, -1, -1, -1, -1, -1));
    }

    @Test
    void answersForDigitsOfPi() {
        assertArrayEquals(
                new int[] {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
                words(0xa4093822, 0x299f31d0, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344));
    }

    @Test
    void dropoutPutsBlockStreamAndMicroBatchIntoTheCounter() {
        int[] out = new int[6];
        Philox.dropoutWords(out, 1, 11, 12, 0x5_0000_0007L, 3, 4);
        int[] expected = words(11, 12, 7, 5, 3, 4);
        assertArrayEquals(
                new int[] {0, expected[0], expected[1], expected[2], expected[3], 0}, out);
    }

    @Test
    void thresholdsAreUnsigned() {
        assertEquals(0, Philox.dropThreshold(0));
        assertEquals(0x8000_0000L, Philox.dropThreshold(0.5f));
        assertEquals(0x1_0000_0000L, Philox.dropThreshold(1));
        assertTrue(Philox.keeps(0x8000_0000, Philox.dropThreshold(0.5f)));
        assertFalse(Philox.keeps(0x7fff_ffff, Philox.dropThreshold(0.5f)));
        assertTrue(Philox.keeps(0, Philox.dropThreshold(0)));
        assertFalse(Philox.keeps(-1, Philox.dropThreshold(1)));
        assertThrows(IllegalArgumentException.class, () -> Philox.dropThreshold(Float.NaN));
    }
}
