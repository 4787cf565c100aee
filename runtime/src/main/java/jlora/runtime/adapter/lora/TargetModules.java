package jlora.runtime.adapter.lora;

import jlora.runtime.JloraException;

import java.util.List;
import java.util.Locale;

/** PEFT's ways to say which modules get an adapter. */
public sealed interface TargetModules {
    /** Modules with one of these names, or whose names end in a dot and one of them. */
    record Names(List<String> names) implements TargetModules {
        public Names {
            names = names.stream().distinct().sorted().toList();
            if (names.stream().anyMatch(String::isBlank)) {
                throw JloraException.usage(
                        "target_modules: a module name is empty; remove it or name a module");
            }
        }
    }

    /** Modules whose whole name a Python regular expression matches. */
    record Regex(String pattern) implements TargetModules {}

    /** Every linear layer but the output head. */
    record AllLinear() implements TargetModules {}

    static TargetModules names(String... names) {
        return new Names(List.of(names));
    }

    /**
     * What a single string means: {@code all-linear} in any case of letters, else a regular
     * expression.
     */
    static TargetModules of(String text) {
        return text.toLowerCase(Locale.ROOT).equals("all-linear")
                ? new AllLinear()
                : new Regex(text);
    }
}
