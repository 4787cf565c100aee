package jlora.trainer.config;

import java.util.List;
import java.util.regex.Pattern;

/** Which modules of a model are meant, with PEFT's meaning of each form. */
public sealed interface ModuleNames {
    /** Every linear layer but the output head. */
    record AllLinear() implements ModuleNames {
        @Override
        public String toString() {
            return "all-linear";
        }
    }

    /** Modules whose path equals one of the names or ends in a dot and the name. */
    record Names(List<String> names) implements ModuleNames {
        public Names {
            names = List.copyOf(names);
            if (names.isEmpty()) {
                throw new IllegalArgumentException("a list of module names must not be empty");
            }
        }

        @Override
        public String toString() {
            return String.join(", ", names);
        }
    }

    /** Modules whose whole path matches the regular expression. */
    record Regex(String regex) implements ModuleNames {
        public Regex {
            Pattern.compile(regex);
        }

        @Override
        public String toString() {
            return regex;
        }
    }
}
