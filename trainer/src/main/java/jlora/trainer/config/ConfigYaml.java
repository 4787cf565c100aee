package jlora.trainer.config;

import jlora.runtime.adapter.lora.LoraInit;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.StringJoiner;
import java.util.regex.Pattern;

/** Writes configurations as YAML that both YAML 1.1 and 1.2 readers take the same way. */
final class ConfigYaml {
    /**
     * Text that needs no quotes: it cannot be taken for a number, a date, a boolean or null, nor
     * holds YAML's own signs.
     */
    private static final Pattern PLAIN = Pattern.compile("(?![\\d.])[\\w./][\\w./-]*");

    private static final List<String> WORDS_WITH_MEANING =
            List.of("true", "false", "yes", "no", "on", "off", "null", "y", "n");

    private ConfigYaml() {}

    static String write(RunConfig config) {
        StringBuilder out = new StringBuilder();
        out.append("# The run with every default filled in; give this file to -c to repeat it.\n");
        for (Record section : config.sections()) {
            out.append("\n# ").append(ConfigReference.title(section.getClass())).append('\n');
            if (section instanceof AdapterSettings
                    && config.train().method() == TrainingMethod.FULL) {
                out.append("# method full trains every weight: no adapter keys\n");
                continue;
            }
            for (Keys.Info info : Keys.of(section.getClass()).all()) {
                Object value = info.of(section);
                out.append(info.name()).append(':');
                if (value instanceof List<?> list
                        && !list.isEmpty()
                        && list.getFirst() instanceof DatasetConfig) {
                    list.forEach(d -> out.append("\n  - ").append(dataset((DatasetConfig) d)));
                } else {
                    out.append(' ').append(inline(value));
                }
                out.append(config.isSet(info.name()) ? "\n" : "  # default\n");
            }
        }
        return out.toString();
    }

    private static String dataset(DatasetConfig dataset) {
        StringJoiner lines = new StringJoiner("\n    ");
        for (Keys.Info info : Keys.of(DatasetConfig.class).all()) {
            Object value = info.of(dataset);
            if (!value.equals(Optional.empty())) {
                lines.add(info.name() + ": " + inline(value));
            }
        }
        return lines.toString();
    }

    /** A value in one line. */
    static String inline(Object value) {
        return switch (value) {
            case Optional<?> optional -> optional.map(ConfigYaml::inline).orElse("null");
            case Double number -> number(number);
            case Boolean _, Integer _, Long _ -> value.toString();
            case LoraInit init when init == LoraInit.KAIMING_UNIFORM -> "true";
            case Enum<?> constant -> text(Keys.nameOf(constant));
            case ByteSize size ->
                    size.toString().matches("\\d+") ? size.toString() : text(size.toString());
            case Path path -> text(path.toString());
            case ResumeFrom resume -> text(resume.toString());
            case ModuleNames.Names names -> inline(names.names());
            case ModuleNames modules -> text(modules.toString());
            case List<?> list -> {
                StringJoiner joined = new StringJoiner(", ", "[", "]");
                list.forEach(v -> joined.add(inline(v)));
                yield joined.toString();
            }
            case Map<?, ?> map -> {
                StringJoiner joined = new StringJoiner(", ", "{", "}");
                map.forEach((k, v) -> joined.add(text((String) k) + ": " + inline(v)));
                yield joined.toString();
            }
            case String string -> text(string);
            case DatasetConfig dataset -> "{" + dataset(dataset).replace("\n    ", ", ") + "}";
            default -> throw new IllegalStateException("no YAML form for " + value.getClass());
        };
    }

    /**
     * The shortest form that reads back as the same double, with the dot and sign that YAML 1.1
     * wants in exponents.
     */
    private static String number(double value) {
        String text = Double.toString(value);
        int e = text.indexOf('E');
        if (e < 0) {
            return text;
        }
        String exponent = text.substring(e + 1);
        return text.substring(0, e) + "e" + (exponent.startsWith("-") ? "" : "+") + exponent;
    }

    private static String text(String value) {
        if (PLAIN.matcher(value).matches()
                && !WORDS_WITH_MEANING.contains(value.toLowerCase(java.util.Locale.ROOT))) {
            return value;
        }
        StringBuilder quoted = new StringBuilder("\"");
        value.chars()
                .forEach(
                        c -> {
                            switch (c) {
                                case '"' -> quoted.append("\\\"");
                                case '\\' -> quoted.append("\\\\");
                                case '\n' -> quoted.append("\\n");
                                case '\t' -> quoted.append("\\t");
                                default -> {
                                    if (c < 0x20
                                            || (c >= 0x7f && c < 0xa0)
                                            || c == 0xfeff
                                            || c >= 0xfffe
                                            || c == 0x2028
                                            || c == 0x2029
                                            || c == 0x85) {
                                        quoted.append(String.format("\\u%04x", c));
                                    } else {
                                        quoted.append((char) c);
                                    }
                                }
                            }
                        });
        return quoted.append('"').toString();
    }
}
