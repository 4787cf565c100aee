package jlora.runtime.adapter.lora;

import jlora.runtime.JloraException;

import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * A regular expression as Python's {@code re} reads it, run by Java's: PEFT's module patterns are
 * Python's. What the two write differently is translated, what only one of them has is refused, and
 * a match that takes too many steps ends with an error instead of hanging.
 */
final class PythonRegex {
    /**
     * Characters looked at in one match; module names have about 50, honest patterns need hundreds.
     */
    private static final int MAX_STEPS = 2_000_000;

    private final String key;
    private final String source;
    private final Pattern pattern;
    private final Map<String, String> groups;

    private PythonRegex(String key, String source, Pattern pattern, Map<String, String> groups) {
        this.key = key;
        this.source = source;
        this.pattern = pattern;
        this.groups = groups;
    }

    /**
     * Compiles a pattern; one that cannot be used is exit code 2.
     *
     * @param key the configuration key that it comes from, for messages
     * @param source what the user wrote, for messages
     * @param python the whole pattern around it
     */
    static PythonRegex compile(String key, String source, String python) {
        Translator translator = new Translator(key, source, python);
        String java = translator.translate();
        try {
            int flags = Pattern.UNICODE_CHARACTER_CLASS | Pattern.UNIX_LINES;
            return new PythonRegex(
                    key, source, Pattern.compile(java, flags), Map.copyOf(translator.groups));
        } catch (PatternSyntaxException e) {
            throw unusable(key, source, e.getDescription().toLowerCase(Locale.ROOT));
        }
    }

    /** True if the pattern matches all of the text: {@code re.fullmatch}. */
    boolean fullMatch(String text) {
        return guarded(text, Matcher::matches).isPresent();
    }

    /** True if the pattern matches from the start of the text: {@code re.match}. */
    boolean matchesStart(String text) {
        return guarded(text, Matcher::lookingAt).isPresent();
    }

    /** What a named group holds after {@code re.match}; empty if there is no match. */
    Optional<String> groupAtStart(String text, String group) {
        return guarded(text, Matcher::lookingAt).map(m -> m.group(groups.get(group)));
    }

    private interface Attempt {
        boolean on(Matcher matcher);
    }

    private Optional<Matcher> guarded(String text, Attempt attempt) {
        Matcher matcher = pattern.matcher(new CountedText(text, new int[] {MAX_STEPS}));
        try {
            return attempt.on(matcher) ? Optional.of(matcher) : Optional.empty();
        } catch (TooManySteps | StackOverflowError e) {
            throw unusable(key, source, "takes too many steps on the module name '" + text + "'");
        }
    }

    private static JloraException unusable(String key, String source, String cause) {
        return JloraException.usage(
                key
                        + ": the regular expression '"
                        + source
                        + "' cannot be used: "
                        + cause
                        + "; rewrite it, or list the module names");
    }

    private static final class TooManySteps extends RuntimeException {
        private static final long serialVersionUID = 1L;

        TooManySteps() {
            super(null, null, false, false);
        }
    }

    /** Text that counts how often it is looked at. */
    private record CountedText(String text, int[] left) implements CharSequence {
        @Override
        public int length() {
            return text.length();
        }

        @Override
        public char charAt(int index) {
            if (left[0]-- <= 0) {
                throw new TooManySteps();
            }
            return text.charAt(index);
        }

        @Override
        public CharSequence subSequence(int start, int end) {
            return text.substring(start, end);
        }

        @Override
        public String toString() {
            return text;
        }
    }

    /** One pass over a Python pattern that writes the Java one. */
    private static final class Translator {
        private static final Pattern QUANTIFIER = Pattern.compile("\\{(\\d*)(,?)(\\d*)\\}");
        private static final Pattern FLAGS =
                Pattern.compile("\\(\\?([a-zA-Z]*)(-[a-zA-Z]+)?([:)])");

        private final String key;
        private final String source;
        private final String python;
        private final StringBuilder java = new StringBuilder();
        private final Map<String, String> groups = new HashMap<>();
        private int at;

        Translator(String key, String source, String python) {
            this.key = key;
            this.source = source;
            this.python = python;
        }

        String translate() {
            while (at < python.length()) {
                char c = python.charAt(at);
                switch (c) {
                    case '\\' -> escape(false);
                    case '[' -> characterClass();
                    case '(' -> group();
                    case '{' -> brace();
                    case '}' -> copyAs("\\}", 1);
                    default -> copyAs(String.valueOf(c), 1);
                }
            }
            return java.toString();
        }

        private void copyAs(String text, int consumed) {
            java.append(text);
            at += consumed;
        }

        private boolean follows(String text) {
            return python.startsWith(text, at);
        }

        private void escape(boolean inClass) {
            if (at + 1 >= python.length()) {
                throw bad("it ends with a backslash");
            }
            char c = python.charAt(at + 1);
            switch (c) {
                case 'd', 'D', 's', 'S', 'w', 'W', 'a', 'f', 'n', 'r', 't' -> copyAs("\\" + c, 2);
                case 'v' -> copyAs("\\x0B", 2);
                case 'x' -> hex(2);
                case 'u' -> hex(4);
                case 'b' -> copyAs(inClass ? "\\x08" : "\\b", 2);
                case 'B', 'A' -> {
                    if (inClass) {
                        throw bad("Python has no \\" + c + " inside brackets");
                    }
                    copyAs("\\" + c, 2);
                }
                case 'Z' -> {
                    if (inClass) {
                        throw bad("Python has no \\Z inside brackets");
                    }
                    copyAs("\\z", 2);
                }
                default -> {
                    boolean digit = c >= '0' && c <= '9';
                    if (digit && (inClass || c == '0')) {
                        throw bad("octal escapes are not supported");
                    }
                    if (!digit && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z')) {
                        throw bad("jlora does not know the escape \\" + c);
                    }
                    copyAs("\\" + c, 2);
                }
            }
        }

        private void hex(int digits) {
            int end = at + 2 + digits;
            if (end > python.length() || !python.substring(at + 2, end).matches("[0-9a-fA-F]+")) {
                throw bad(
                        "\\" + python.charAt(at + 1) + " needs " + digits + " hexadecimal digits");
            }
            copyAs(python.substring(at, end), 2 + digits);
        }

        private void characterClass() {
            copyAs("[", 1);
            if (follows("^")) {
                copyAs("^", 1);
            }
            boolean first = true;
            while (!follows("]") || first) {
                if (at >= python.length()) {
                    throw bad("a bracket is not closed");
                }
                first = false;
                char c = python.charAt(at);
                switch (c) {
                    case '\\' -> escape(true);
                    // Java gives these a meaning inside brackets (union, intersection); Python does
                    // not.
                    case '[', ']', '&' -> copyAs("\\" + c, 1);
                    default -> copyAs(String.valueOf(c), 1);
                }
            }
            copyAs("]", 1);
        }

        private void group() {
            if (!follows("(?")) {
                copyAs("(", 1);
                return;
            }
            for (String same : new String[] {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"}) {
                if (follows(same)) {
                    copyAs(same, same.length());
                    return;
                }
            }
            if (follows("(?P<")) {
                String name = name(4, '>');
                if (groups.containsKey(name)) {
                    throw bad("the group " + name + " is defined twice");
                }
                // Java's group names have no underscores: every group gets a name of its own.
                String own = "g" + groups.size();
                groups.put(name, own);
                copyAs("(?<" + own + ">", name.length() + 5);
            } else if (follows("(?P=")) {
                String name = name(4, ')');
                if (!groups.containsKey(name)) {
                    throw bad("it refers to an unknown group " + name);
                }
                copyAs("\\k<" + groups.get(name) + ">", name.length() + 5);
            } else if (follows("(?#")) {
                int end = python.indexOf(')', at);
                if (end < 0) {
                    throw bad("a comment is not closed");
                }
                at = end + 1;
            } else {
                flags();
            }
        }

        private String name(int offset, char closing) {
            int end = python.indexOf(closing, at + offset);
            if (end < 0) {
                throw bad("a group name is not closed");
            }
            String name = python.substring(at + offset, end);
            if (!name.matches("[A-Za-z_][A-Za-z0-9_]*")) {
                throw bad("'" + name + "' is not a group name");
            }
            return name;
        }

        private void flags() {
            Matcher m = FLAGS.matcher(python).region(at, python.length());
            if (!m.lookingAt()) {
                throw bad("jlora does not know the group (?" + python.substring(at + 2));
            }
            String on = m.group(1);
            String off = m.group(2) == null ? "" : m.group(2);
            if (!on.matches("[imsu]*") || !off.matches("(-[ims]+)?")) {
                throw bad("only the flags i, m, s and u are supported");
            }
            boolean global = m.group(3).equals(")");
            if (global && (at > 0 || !off.isEmpty() || on.isEmpty())) {
                throw bad("flags for the whole expression must stand at its start");
            }
            copyAs("(?" + on.replace("u", "") + off + m.group(3), m.end() - at);
        }

        private void brace() {
            Matcher m = QUANTIFIER.matcher(python).region(at, python.length());
            boolean repeats = m.lookingAt() && (!m.group(1).isEmpty() || m.group(2).equals(","));
            if (!repeats) {
                copyAs("\\{", 1);
                return;
            }
            String least = m.group(1).isEmpty() ? "0" : m.group(1);
            copyAs("{" + least + m.group(2) + m.group(3) + "}", m.end() - at);
        }

        private JloraException bad(String cause) {
            return unusable(key, source, cause);
        }
    }
}
