package jlora.runtime.io;

import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.Collectors;

/**
 * The element types of the safetensors format, under their names in the header, in the format's own
 * order of alignment. jlora opens files with any of them and loads weights from the float types.
 */
public enum SafetensorsType {
    BOOL(8),
    F4(4),
    F6_E2M3(6),
    F6_E3M2(6),
    U8(8),
    I8(8),
    F8_E5M2(8),
    F8_E4M3(8),
    F8_E8M0(8),
    F8_E4M3FNUZ(8),
    F8_E5M2FNUZ(8),
    I16(16),
    U16(16),
    F16(16),
    BF16(16),
    I32(32),
    U32(32),
    F32(32),
    C64(64),
    F64(64),
    I64(64),
    U64(64);

    private static final Map<String, SafetensorsType> BY_NAME =
            Arrays.stream(values()).collect(Collectors.toMap(Enum::name, Function.identity()));

    private final int bits;

    SafetensorsType(int bits) {
        this.bits = bits;
    }

    static Optional<SafetensorsType> byName(String name) {
        return Optional.ofNullable(BY_NAME.get(name));
    }

    /** Bits of one element; the F4 and F6 types do not fill whole bytes. */
    public int bits() {
        return bits;
    }

    /** Bytes of a tensor, or empty when they overflow 63 bits or do not come to whole bytes. */
    Optional<Long> bytesOf(long[] shape) {
        try {
            long total = bits;
            for (long dimension : shape) {
                total = Math.multiplyExact(total, dimension);
            }
            return total % 8 == 0 ? Optional.of(total / 8) : Optional.empty();
        } catch (ArithmeticException e) {
            return Optional.empty();
        }
    }
}
