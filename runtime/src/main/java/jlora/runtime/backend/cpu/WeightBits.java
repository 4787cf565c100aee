package jlora.runtime.backend.cpu;

/** The bits of a weight, 2 or 4 bytes wide, in an array, lowest byte first. */
final class WeightBits {
    private WeightBits() {}

    static void put(byte[] to, int at, int bits, int width) {
        for (int i = 0; i < width; i++) {
            to[at + i] = (byte) (bits >>> 8 * i);
        }
    }

    static int get(byte[] from, int at, int width) {
        int bits = 0;
        for (int i = 0; i < width; i++) {
            bits |= (from[at + i] & 0xFF) << 8 * i;
        }
        return bits;
    }
}
