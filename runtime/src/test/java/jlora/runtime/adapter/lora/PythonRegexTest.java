package jlora.runtime.adapter.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.util.Optional;

/** The expected results are those of Python 3.11's {@code re.fullmatch}. */
class PythonRegexTest {
    private static PythonRegex compile(String python) {
        return PythonRegex.compile("target_modules", python, python);
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ' ',
            quoteCharacter = '"',
            value = {
                ".*\\.(q|v)_proj model.layers.0.self_attn.q_proj true",
                ".*\\.(q|v)_proj q_proj false",
                "q_proj model.q_proj false",
                "(?P<kind_of>[qk])_(?P=kind_of) q_q true",
                "(?P<kind_of>[qk])_(?P=kind_of) q_k false",
                "(?P<a_1>x)(?P<a_2>y)\\2\\1 xyyx true",
                "(?i)Q_PROJ q_proj true",
                "(?i:Q)_proj q_proj true",
                "(?i:Q)_proj q_PROJ false",
                "[[]x] [x] true",
                "[]x]+ x]x true",
                "[^]]+ abc true",
                "[^]]+ a]c false",
                "[a&&b]+ a&b true",
                "[a-c&&[b]] a] true",
                "[a-c&&[b]] b false",
                "[a-c&&[b]] [] true",
                "[\\w-]+ a-b true",
                "a{,2} aa true",
                "a{,2} aaa false",
                "a{,} aaaaa true",
                "a{2,} aaa true",
                "a{} a{} true",
                "a{x} a{x} true",
                "a} a} true",
                "{2 {2 true",
                "a(?#note)b ab true",
                "a\\Z a true",
                "\\Aa$ a true",
                "\\d\\D\\w\\W 1aa. true",
                "\\x61\\u0062 ab true",
                "(?:a|b)++b aab false",
                "(?>a+)b aab true",
                "a(?!b).* acb true",
                "(?<=a)b b false",
                "\\d+ \u0663 true",
                "\\w+ \u00fc true",
                "a# a# true"
            })
    void matchesAsPythonDoes(String pattern, String text, boolean expected) {
        assertEquals(expected, compile(pattern).fullMatch(text));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "(a)?(?(1)b|c)",
                "\\p{L}",
                "\\Qa\\E",
                "\\h",
                "\\R",
                "\\z",
                "\\G",
                "\\012",
                "\\x{61}",
                "\\N{DIGIT ONE}",
                "[\\1]",
                "[\\B]",
                "(?x)a b",
                "(?a)a",
                "a(?i)b",
                "(?<name>a)",
                "(?P<a>x)(?P<a>y)",
                "(?P=none)",
                "(?P>a)",
                "(a",
                "a)",
                "[a",
                "*a",
                "a**",
                "a{3,2}",
                "a\\",
                "(?#"
            })
    void whatOnlyOneLanguageKnowsIsRefusedByName(String pattern) {
        JloraException e = assertThrows(JloraException.class, () -> compile(pattern));
        assertEquals(ExitCode.USAGE, e.exitCode());
        assertTrue(
                e.getMessage()
                        .startsWith("target_modules: the regular expression '" + pattern + "'"),
                e.getMessage());
    }

    @Test
    void aMatchThatWouldTakeForeverIsRefused() {
        PythonRegex slow = compile("(a+)+\\1b");
        JloraException e = assertThrows(JloraException.class, () -> slow.fullMatch("a".repeat(60)));
        assertTrue(e.getMessage().contains("too many steps"), e.getMessage());
        PythonRegex deep = compile("(a|b)*c");
        assertThrows(JloraException.class, () -> deep.fullMatch("ab".repeat(1_000_000)));
    }

    @Test
    void startsAndGroups() {
        PythonRegex layer = compile(".*?\\.(?P<idx>\\d+)\\.");
        assertEquals(Optional.of("3"), layer.groupAtStart("model.layers.3.experts.0.w", "idx"));
        assertEquals(Optional.empty(), layer.groupAtStart("model.norm", "idx"));
        assertTrue(compile("ab").matchesStart("abc"));
        assertFalse(compile("bc").matchesStart("abc"));
    }
}
