package jlora.runtime.backend.cpu;

/**
 * A list: per correction the weights skipped since the last one, with two bits of what follows, as
 * a number of 7 bits per byte; then nothing for one step up or down, a signed byte of steps, or the
 * weight itself. A step is a difference of one between the weights' bits.
 */
final class SparseCorrections implements CorrectionCode {
    private static final int UP = 0;
    private static final int DOWN = 1;
    private static final int STEPS = 2;
    private static final int WHOLE = 3;

    private final int width;
    private byte[] bytes;
    private int at;
    private int position;
    private int length;
    private int elements;
    private int form;

    SparseCorrections(int width) {
        this.width = width;
    }

    /** Bytes of one entry that comes {@code skipped} weights after the last one. */
    static int size(int skipped, int before, int back, int width) {
        int head = skipped < 1 << 5 ? 1 : skipped < 1 << 12 ? 2 : 3;
        return switch (form(before, back)) {
            case STEPS -> head + 1;
            case WHOLE -> head + width;
            default -> head;
        };
    }

    private static int form(int before, int back) {
        int steps = before - back;
        if (steps == 1) {
            return UP;
        }
        if (steps == -1) {
            return DOWN;
        }
        return steps == (byte) steps ? STEPS : WHOLE;
    }

    @Override
    public void start(byte[] to, int count) {
        bytes = to;
        at = 0;
        position = -1;
    }

    @Override
    public void add(int next, int before, int back) {
        int kind = form(before, back);
        int head = next - position - 1 << 2 | kind;
        for (; head >= 1 << 7; head >>>= 7) {
            bytes[at++] = (byte) (head | 0x80);
        }
        bytes[at++] = (byte) head;
        if (kind == STEPS) {
            bytes[at++] = (byte) (before - back);
        } else if (kind == WHOLE) {
            WeightBits.put(bytes, at, before, width);
            at += width;
        }
        position = next;
    }

    @Override
    public void open(byte[] from, int count, int weights) {
        bytes = from;
        length = count;
        elements = weights;
        at = 0;
        position = -1;
        readHead();
    }

    private void readHead() {
        if (at == length) {
            position = elements;
            return;
        }
        int head = 0;
        int shift = 0;
        while (bytes[at] < 0) {
            head |= (bytes[at++] & 0x7F) << shift;
            shift += 7;
        }
        head |= bytes[at++] << shift;
        position += 1 + (head >>> 2);
        form = head & 3;
    }

    @Override
    public int next() {
        return position;
    }

    @Override
    public int before(int back) {
        int before =
                switch (form) {
                    case UP -> back + 1;
                    case DOWN -> back - 1;
                    case STEPS -> back + bytes[at++];
                    default -> WeightBits.get(bytes, at, width);
                };
        at += form == WHOLE ? width : 0;
        readHead();
        return before;
    }
}
