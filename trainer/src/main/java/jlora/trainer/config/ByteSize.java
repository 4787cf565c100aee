package jlora.trainer.config;

import java.math.BigDecimal;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** A positive number of bytes, written {@code 12GiB}, {@code 800MB} or plainly in bytes. */
public record ByteSize(long bytes) {
    private static final Pattern FORM =
            Pattern.compile("(\\d+(?:\\.\\d+)?)\\s*([KMGT]?)(i?)(B?)", Pattern.CASE_INSENSITIVE);

    public ByteSize {
        if (bytes <= 0) {
            throw new IllegalArgumentException("a byte size must be positive, not " + bytes);
        }
    }

    /**
     * Reads {@code 12GiB} (powers of 1024), {@code 12GB} (powers of 1000), {@code 4096}; empty if
     * it is none of these.
     */
    public static Optional<ByteSize> parse(String text) {
        Matcher m = FORM.matcher(text.strip());
        if (!m.matches() || (m.group(2).isEmpty() && !m.group(3).isEmpty())) {
            return Optional.empty();
        }
        // A bare letter as in 12G means what memory tools mean by it: powers of 1024.
        boolean decimal = m.group(3).isEmpty() && !m.group(4).isEmpty();
        int power =
                m.group(2).isEmpty()
                        ? 0
                        : "KMGT".indexOf(Character.toUpperCase(m.group(2).charAt(0))) + 1;
        BigDecimal unit = BigDecimal.valueOf(decimal ? 1000 : 1024).pow(power);
        BigDecimal bytes = new BigDecimal(m.group(1)).multiply(unit);
        return bytes.signum() > 0 && bytes.compareTo(BigDecimal.valueOf(Long.MAX_VALUE)) < 0
                ? Optional.of(new ByteSize(bytes.longValue()))
                : Optional.empty();
    }

    /**
     * The size in the largest binary unit that states it exactly, so that it reads back as the same
     * number.
     */
    @Override
    public String toString() {
        List<String> units = List.of("", "KiB", "MiB", "GiB", "TiB");
        int power = Math.min(Long.numberOfTrailingZeros(bytes) / 10, units.size() - 1);
        return (bytes >> (10 * power)) + units.get(power);
    }
}
