package jlora.trainer.config;

import jlora.runtime.JloraException;

import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.math.BigInteger;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Turns {@link Raw} text into the value that the Java type of a key asks for, or says at which
 * place why it cannot.
 */
final class ValueReader {
    private static final Pattern INTEGER = Pattern.compile("[-+]?\\d{1,30}");
    private static final Pattern DECIMAL =
            Pattern.compile("[-+]?(\\d+\\.?\\d*|\\.\\d+)([eE][-+]?\\d{1,6})?");

    /** Module names without any sign of a regular expression, one or several. */
    private static final Pattern PLAIN_NAMES = Pattern.compile("[\\w.]+(\\s*,\\s*[\\w.]+)*");

    private ValueReader() {}

    static Object read(String label, Type type, Raw raw) {
        if (type instanceof ParameterizedType generic) {
            Type argument =
                    generic.getActualTypeArguments()[generic.getActualTypeArguments().length - 1];
            if (generic.getRawType() == Optional.class) {
                return raw instanceof Raw.Scalar s && s.isNull()
                        ? Optional.empty()
                        : Optional.of(read(label, argument, raw));
            }
            if (generic.getRawType() == List.class) {
                return list(label, argument, raw);
            }
            if (generic.getRawType() == Map.class) {
                return map(label, argument, raw);
            }
        }
        if (type == ModuleNames.class) {
            return modules(label, raw);
        }
        if (type == DatasetConfig.class) {
            return SectionReader.nested(label, DatasetConfig.class, raw);
        }
        if (!(raw instanceof Raw.Scalar scalar)) {
            throw wrong(label, raw, expected(type));
        }
        if (scalar.isNull()) {
            throw JloraException.usage(
                    raw.place()
                            + ": "
                            + label
                            + " has no value; give one or remove the key to use its default");
        }
        return scalar(label, (Class<?>) type, scalar);
    }

    private static Object scalar(String label, Class<?> type, Raw.Scalar raw) {
        String text = raw.text();
        if (type == String.class) {
            return text;
        }
        if (type == Path.class) {
            return path(label, raw);
        }
        if (type == ResumeFrom.class) {
            return text.equalsIgnoreCase("auto") || raw.plain() && text.equalsIgnoreCase("true")
                    ? new ResumeFrom.Auto()
                    : new ResumeFrom.Folder(path(label, raw));
        }
        if (type.isEnum()) {
            return constant(label, type, raw);
        }
        if (type == ByteSize.class) {
            return ByteSize.parse(text).orElseThrow(() -> wrong(label, raw, expected(type)));
        }
        if (!raw.plain()) {
            throw JloraException.usage(
                    raw.place()
                            + ": "
                            + label
                            + " is text in quotes, but must be "
                            + expected(type)
                            + "; remove the quotes");
        }
        if (type == boolean.class || type == Boolean.class) {
            return switch (text.toLowerCase(Locale.ROOT)) {
                case "true" -> true;
                case "false" -> false;
                default -> throw wrong(label, raw, expected(type));
            };
        }
        if (type == double.class || type == Double.class) {
            if (!DECIMAL.matcher(text).matches() || Double.isInfinite(Double.parseDouble(text))) {
                throw wrong(label, raw, expected(type));
            }
            return Double.parseDouble(text);
        }
        if (!INTEGER.matcher(text).matches()) {
            throw wrong(label, raw, expected(type));
        }
        boolean isInt = type == int.class || type == Integer.class;
        if (new BigInteger(text).bitLength() > (isInt ? 31 : 63)) {
            throw JloraException.usage(
                    raw.place()
                            + ": "
                            + label
                            + " is "
                            + text
                            + ", but must be at most "
                            + (isInt ? Integer.MAX_VALUE : Long.MAX_VALUE)
                            + " in size");
        }
        if (isInt) {
            return Integer.parseInt(text);
        }
        return Long.parseLong(text);
    }

    private static Path path(String label, Raw.Scalar raw) {
        String text = raw.text();
        if (text.isEmpty()) {
            throw JloraException.usage(
                    raw.place() + ": " + label + " is empty; give a path or remove the key");
        }
        try {
            Path path =
                    text.equals("~") || text.startsWith("~/")
                            ? Path.of(System.getProperty("user.home"), text.substring(1))
                            : Path.of(text);
            return raw.place().base().resolve(path).toAbsolutePath().normalize();
        } catch (InvalidPathException e) {
            throw JloraException.usage(
                    raw.place()
                            + ": "
                            + label
                            + " is not a path ("
                            + e.getReason()
                            + "); correct it");
        }
    }

    private static Object constant(String label, Class<?> type, Raw.Scalar raw) {
        String text = raw.text().toLowerCase(Locale.ROOT);
        if (type == GradientCheckpointing.class && raw.plain() && text.equals("true")) {
            return GradientCheckpointing.FULL;
        }
        if (type == GradientCheckpointing.class && raw.plain() && text.equals("false")) {
            return GradientCheckpointing.NONE;
        }
        for (Object constant : type.getEnumConstants()) {
            if (Keys.nameOf((Enum<?>) constant).equals(text)) {
                return constant;
            }
        }
        List<String> names = names(type);
        String guess =
                NearestName.of(raw.text(), names)
                        .map(n -> "; did you mean '" + n + "'?")
                        .orElse("");
        throw JloraException.usage(
                raw.place()
                        + ": "
                        + label
                        + " is "
                        + raw.describe()
                        + ", but must be "
                        + expected(type)
                        + guess);
    }

    private static List<Object> list(String label, Type element, Raw raw) {
        return switch (raw) {
            case Raw.Scalar s when s.isNull() -> List.of();
            case Raw.Scalar s when element != DatasetConfig.class -> {
                // One value stands for a list of one, as in PEFT; on the command line commas
                // separate several.
                if (!s.plain() || !s.text().contains(",")) {
                    yield List.of(read(label, element, s));
                }
                yield Stream.of(s.text().split(",", -1))
                        .map(
                                part ->
                                        read(
                                                label,
                                                element,
                                                new Raw.Scalar(part.strip(), true, s.place())))
                        .toList();
            }
            case Raw.Sequence s -> {
                List<Object> values = new ArrayList<>();
                for (Raw value : s.elements()) {
                    values.add(read(label + "[" + values.size() + "]", element, value));
                }
                yield values;
            }
            default ->
                    throw wrong(
                            label,
                            raw,
                            element == DatasetConfig.class
                                    ? "a list of data sets such as [{path: train.jsonl, type:"
                                            + " text}]"
                                    : "a list");
        };
    }

    private static Map<String, Object> map(String label, Type value, Raw raw) {
        if (raw instanceof Raw.Scalar s && s.isNull()) {
            return Map.of();
        }
        if (!(raw instanceof Raw.Mapping mapping)) {
            throw wrong(label, raw, "a mapping of module names to numbers such as {q_proj: 16}");
        }
        Map<String, Object> values = new LinkedHashMap<>();
        mapping.entries()
                .forEach(
                        (name, entry) ->
                                values.put(name, read(label + "." + name, value, entry.value())));
        return values;
    }

    private static ModuleNames modules(String label, Raw raw) {
        return switch (raw) {
            case Raw.Sequence s when s.elements().isEmpty() ->
                    throw JloraException.usage(
                            raw.place()
                                    + ": "
                                    + label
                                    + " is an empty list; name at least one module or remove the"
                                    + " key");
            case Raw.Sequence s ->
                    new ModuleNames.Names(
                            s.elements().stream()
                                    .map(e -> (String) read(label, String.class, e))
                                    .toList());
            case Raw.Scalar s when s.isNull() || s.text().isEmpty() ->
                    throw JloraException.usage(
                            raw.place()
                                    + ": "
                                    + label
                                    + " is empty; name at least one module or remove the key");
            case Raw.Scalar s when s.text().equals("all-linear") -> new ModuleNames.AllLinear();
            case Raw.Scalar s when PLAIN_NAMES.matcher(s.text()).matches() ->
                    // As an expression a bare name matches only a module at the top of the model: a
                    // list is meant.
                    new ModuleNames.Names(List.of(s.text().split("\\s*,\\s*")));
            case Raw.Scalar s -> {
                try {
                    yield new ModuleNames.Regex(s.text());
                } catch (PatternSyntaxException e) {
                    throw JloraException.usage(
                            raw.place()
                                    + ": "
                                    + label
                                    + " is not a regular expression ("
                                    + e.getDescription()
                                    + "); correct it or give a list of names");
                }
            }
            case Raw.Mapping _ ->
                    throw wrong(label, raw, "a list of names, all-linear or a regular expression");
        };
    }

    static JloraException wrong(String label, Raw raw, String expected) {
        return JloraException.usage(
                raw.place() + ": " + label + " is " + raw.describe() + ", but must be " + expected);
    }

    private static List<String> names(Class<?> type) {
        return Arrays.stream(type.getEnumConstants()).map(c -> Keys.nameOf((Enum<?>) c)).toList();
    }

    /** What a value of the type looks like, to follow "must be". */
    static String expected(Type type) {
        return switch (type) {
            case Class<?> c when c == boolean.class || c == Boolean.class -> "true or false";
            case Class<?> c when c == double.class || c == Double.class -> "a number";
            case Class<?> c when c == ByteSize.class ->
                    "a size such as 12GiB, 800MB or a number of bytes";
            case Class<?> c when c == String.class -> "one word or text";
            case Class<?> c when c == Path.class -> "a path";
            case Class<?> c when c == ResumeFrom.class -> "auto or the folder of a checkpoint";
            case Class<?> c when c.isEnum() ->
                    "one of " + names(c).stream().collect(Collectors.joining(", "));
            default -> "a whole number";
        };
    }
}
