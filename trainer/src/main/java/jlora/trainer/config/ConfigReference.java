package jlora.trainer.config;

import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * The reference of all keys, as a Markdown page and as help text, generated from the configuration
 * records.
 */
public final class ConfigReference {
    private static final Map<Class<? extends Record>, String> TITLES =
            Map.of(
                    ModelConfig.class, "Model and device",
                    BaseConfig.class, "Frozen weights",
                    AdapterSettings.class, "Adapter",
                    DataConfig.class, "Data",
                    DatasetConfig.class, "One entry of datasets and eval_datasets",
                    TrainConfig.class, "Training",
                    SaveConfig.class, "Checkpoints",
                    JobConfig.class, "Faults and workers",
                    OutputConfig.class, "Output");

    private ConfigReference() {}

    static String title(Class<? extends Record> section) {
        return TITLES.get(section);
    }

    /** The page {@code docs/config.md}. */
    public static String markdown() {
        StringBuilder out = new StringBuilder();
        out.append(
                """
                # Configuration

                A run is described by a flat YAML file (`-c FILE`), by words on the command line, or by both. The command
                line wins. Each key can be given as `--key value`, `--key=value` or `key=value`; a lone `--key` means
                `true`; parts of a list are reached as `datasets[0].path=FILE`. Relative paths in a file start from the
                file's folder, those on the command line from the working folder. An unknown key is an error.

                Names and meanings are those of Transformers' `TrainingArguments`, TRL's `SFTConfig` and PEFT's
                `LoraConfig` (with `lora_` in front, or without), and so are the defaults, but for these:

                - `learning_rate` is 2e-4 with method lora. TRL's 2e-5 is meant for training every weight, and is what
                  method full uses here; adapters want about ten times as much. (Transformers has 5e-5.)
                - `gradient_checkpointing` is `auto`: memory is planned before the run, so only what must be recomputed
                  is. TRL recomputes always, Transformers never.
                - `logging_steps` is 10, as in TRL; Transformers has 500. It is a number of steps, never a share.
                - `bnb_4bit_quant_type` is `nf4` and `bnb_4bit_use_double_quant` true, as in the QLoRA paper; what
                  `BitsAndBytesConfig` has where nothing is said is `fp4` and false.
                - `eval_strategy` follows the configuration: evaluation data that is given is used. Transformers
                  evaluates only when it is told to.

                Where Transformers lets one of two keys win in silence, the same one wins here, and the run says so:
                `max_steps` over `num_train_epochs`, `warmup_steps` over `warmup_ratio`, `lr_scheduler_type: constant`
                over any warmup, `eval_strategy` over `eval_steps`.

                This page is generated from the configuration records; the file `config.yaml` that a run leaves in its
                output folder shows the same keys with all defaults filled in.
                """);
        for (Class<? extends Record> section : sections()) {
            out.append("\n## ").append(title(section)).append("\n\n");
            out.append("| key | value | default | meaning |\n|---|---|---|---|\n");
            for (Keys.Info info : Keys.of(section).all()) {
                out.append("| `").append(info.name()).append("` | ").append(cell(form(info)));
                out.append(" | ").append(cell(markdownDefault(info)));
                out.append(" | ").append(cell(info.key().doc()));
                if (info.key().also().length > 0) {
                    out.append(" Also `").append(String.join("`, `", info.key().also()));
                    out.append("`.");
                }
                out.append(" |\n");
            }
        }
        return out.toString();
    }

    /**
     * Help for a terminal: each key with its form and default, and its meaning below, wrapped to
     * the width.
     */
    public static String help(int width) {
        StringBuilder out = new StringBuilder();
        for (Class<? extends Record> section : sections()) {
            out.append(out.isEmpty() ? "" : "\n").append(title(section)).append(":\n");
            for (Keys.Info info : Keys.of(section).all()) {
                out.append("  ")
                        .append(section == DatasetConfig.class ? "" : "--")
                        .append(info.name());
                String usual = plainDefault(info);
                String facts = form(info) + (usual.isEmpty() ? "" : "; default " + usual);
                wrap(out, "  (" + facts + ")", width, out.length() - out.lastIndexOf("\n") - 1);
                wrap(out, "      " + info.key().doc(), width, 0);
            }
        }
        return out.toString();
    }

    private static List<Class<? extends Record>> sections() {
        return List.of(
                ModelConfig.class,
                BaseConfig.class,
                AdapterSettings.class,
                DataConfig.class,
                DatasetConfig.class,
                TrainConfig.class,
                SaveConfig.class,
                JobConfig.class,
                OutputConfig.class);
    }

    /** What a value looks like: its type or choices, bounds and unit. */
    private static String form(Keys.Info info) {
        StringBuilder form = new StringBuilder(typeName(info.valueType()));
        info.bounds().ifPresent(b -> form.append(' ').append(b.symbols()));
        boolean sized = info.valueType() == ByteSize.class;
        if (!info.key().unit().isEmpty() && !sized) {
            form.append(", ").append(info.key().unit());
        }
        return form.toString();
    }

    private static String typeName(Type type) {
        if (type instanceof ParameterizedType generic) {
            Type argument =
                    generic.getActualTypeArguments()[generic.getActualTypeArguments().length - 1];
            return generic.getRawType() == Map.class
                    ? "map of name to " + typeName(argument)
                    : "list of " + typeName(argument);
        }
        return switch ((Class<?>) type) {
            case Class<?> c when c == boolean.class || c == Boolean.class -> "true or false";
            case Class<?> c
                    when c == int.class
                            || c == Integer.class
                            || c == long.class
                            || c == Long.class ->
                    "integer";
            case Class<?> c when c == double.class || c == Double.class -> "number";
            case Class<?> c when c == Path.class -> "path";
            case Class<?> c when c == ResumeFrom.class -> "auto or path";
            case Class<?> c when c == ByteSize.class -> "bytes";
            case Class<?> c when c == ModuleNames.class -> "module names";
            case Class<?> c when c == DatasetConfig.class -> "data sets";
            case Class<?> c when c.isEnum() ->
                    String.join(
                            ", ",
                            List.of(c.getEnumConstants()).stream()
                                    .map(e -> Keys.nameOf((Enum<?>) e))
                                    .toList());
            default -> "text";
        };
    }

    private static String markdownDefault(Keys.Info info) {
        Key key = info.key();
        if (key.required()) {
            return "required";
        }
        if (key.value().isEmpty()) {
            return key.derived().isEmpty() ? "none" : key.derived();
        }
        return "`" + key.value() + "`";
    }

    private static String plainDefault(Keys.Info info) {
        Key key = info.key();
        return key.value().isEmpty() ? key.derived() : key.value();
    }

    private static String cell(String text) {
        return text.replace("|", "\\|");
    }

    /** Appends the text and a line end; lines after the first start where a meaning starts. */
    private static void wrap(StringBuilder out, String text, int width, int column) {
        int at = column;
        String indent = text.startsWith("      ") ? "      " : "  ";
        out.append(indent);
        at += indent.length();
        boolean first = true;
        for (String word : text.strip().split(" ")) {
            if (!first && at + 1 + word.length() > width) {
                out.append("\n      ");
                at = 6;
                first = true;
            }
            out.append(first ? "" : " ").append(word);
            at += word.length() + (first ? 0 : 1);
            first = false;
        }
        out.append('\n');
    }
}
