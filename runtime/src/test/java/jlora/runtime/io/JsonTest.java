package jlora.runtime.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

class JsonTest {
    @TempDir Path folder;

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"a\": 1, \"a\": 2}",
                "{\"a\": 1} x",
                "{\"a\": NaN}",
                "{\"a\": 1,}",
                "{a: 1}",
                "{'a': 1}",
                "{\"a\": 01}",
                "{\"a\": 1 // note\n}",
                "{\"a\": \"x\ny\"}",
                "{\"a\":",
                "[1]",
                "3",
                "null",
                "",
                "\ufeff{\"a\": 1}"
            })
    void whatIsNotStrictJsonIsRefusedWithFileAndLine(String text) {
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () -> Json.parseObject("f.json", 1, text.getBytes(StandardCharsets.UTF_8)));
        assertEquals(ExitCode.CORRUPT_INPUT, e.exitCode());
        assertTrue(e.getMessage().matches("f\\.json:[12]: .*"), e.getMessage());
    }

    @Test
    void theLineIsTheLineOfTheFault() {
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () ->
                                Json.parseObject(
                                        "f.jsonl",
                                        10,
                                        "{\n\"a\": 1\n\"b\": 2}".getBytes(StandardCharsets.UTF_8)));
        assertTrue(e.getMessage().startsWith("f.jsonl:12: not valid JSON"), e.getMessage());
    }

    @Test
    void badUtf8AndDeepNestingAreRefused() {
        JloraException e =
                assertThrows(
                        JloraException.class,
                        () ->
                                Json.parseObject(
                                        "f", 3, new byte[] {'{', '"', (byte) 0xff, '"', '}'}));
        assertTrue(e.getMessage().startsWith("f:3: the text is not valid UTF-8"), e.getMessage());
        String deep = "{\"a\":" + "[".repeat(100_000) + "]".repeat(100_000) + "}";
        assertThrows(
                JloraException.class,
                () -> Json.parseObject("f", 1, deep.getBytes(StandardCharsets.UTF_8)));
    }

    @Test
    void aMissingFileIsNamed() {
        Path file = folder.resolve("none.json");
        JloraException e = assertThrows(JloraException.class, () -> Json.readObject(file));
        assertTrue(e.getMessage().startsWith(file + ": there is no such file"), e.getMessage());
    }

    @Test
    void prettyPrintsAsPythonDoes() throws IOException {
        ObjectNode node = Json.object();
        node.put("a", 1).putNull("b").putObject("c");
        node.putArray("d");
        node.putArray("e").add("ü").add("x");
        node.putObject("f").put("g", 0.05);
        String text = new String(Json.pretty(node), StandardCharsets.UTF_8);
        assertEquals(
                "{\n  \"a\": 1,\n  \"b\": null,\n  \"c\": {},\n  \"d\": [],\n  \"e\": [\n"
                        + "    \"\\u00FC\",\n    \"x\"\n  ],\n  \"f\": {\n    \"g\": 0.05\n  }\n}",
                text);
        Path file = folder.resolve("f.json");
        Files.writeString(file, text);
        assertEquals(text, new String(Json.pretty(Json.readObject(file)), StandardCharsets.UTF_8));
    }
}
