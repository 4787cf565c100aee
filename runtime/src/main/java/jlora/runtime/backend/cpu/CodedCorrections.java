package jlora.runtime.backend.cpu;

/**
 * Two bits per weight: comes back, is one step up, one step down, or is listed behind the codes, in
 * full and in order. A step is a difference of one between the weights' bits.
 */
final class CodedCorrections implements CorrectionCode {
    private static final int UP = 1;
    private static final int DOWN = 2;
    private static final int LISTED = 3;

    private final int width;
    private byte[] bytes;
    private int elements;
    private int position;
    private int listed;

    CodedCorrections(int width) {
        this.width = width;
    }

    /** Bytes of the codes of so many weights. */
    static int codes(int elements) {
        return (elements + 3) / 4;
    }

    /** Whether a weight needs more than its code. */
    static boolean listed(int before, int back) {
        return Math.abs(before - back) != 1;
    }

    @Override
    public void start(byte[] to, int count) {
        bytes = to;
        listed = codes(count);
    }

    @Override
    public void add(int at, int before, int back) {
        int code = LISTED;
        if (!listed(before, back)) {
            code = before - back == 1 ? UP : DOWN;
        } else {
            WeightBits.put(bytes, listed, before, width);
            listed += width;
        }
        bytes[at >>> 2] |= (byte) (code << 2 * (at & 3));
    }

    @Override
    public void open(byte[] from, int length, int count) {
        bytes = from;
        elements = count;
        listed = codes(count);
        position = 0;
        seek();
    }

    private int code() {
        return bytes[position >>> 2] >>> 2 * (position & 3) & 3;
    }

    private void seek() {
        while (position < elements && code() == 0) {
            boolean whole = (position & 3) == 0 && bytes[position >>> 2] == 0;
            position = whole ? Math.min(position + 4, elements) : position + 1;
        }
    }

    @Override
    public int next() {
        return position;
    }

    @Override
    public int before(int back) {
        int before =
                switch (code()) {
                    case UP -> back + 1;
                    case DOWN -> back - 1;
                    default -> WeightBits.get(bytes, listed, width);
                };
        listed += code() == LISTED ? width : 0;
        position++;
        seek();
        return before;
    }
}
