package jlora.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.io.Json;
import jlora.trainer.config.LogFormat;
import jlora.trainer.metrics.RunEvent;

import org.junit.jupiter.api.Test;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;

class ErrorLogTest {
    private final StringWriter err = new StringWriter();
    private final RunEvent hang =
            RunEvent.error("step 3 hangs").with("exit_code", 7).with("threads", "main\n  at x\n");

    @Test
    void linesForPeopleFollowTheSentence() {
        new ErrorLog(new PrintWriter(err), LogFormat.TEXT).say(hang, "threads");
        assertEquals("jlora: step 3 hangs\nmain\n  at x\n", err.toString());
    }

    @Test
    void asJsonTheyAreAFieldOfTheOneLine() {
        new ErrorLog(new PrintWriter(err), LogFormat.JSON).say(hang, "threads");
        assertEquals(1, err.toString().lines().count());
        ObjectNode line =
                Json.parseObject("err", 1, err.toString().getBytes(StandardCharsets.UTF_8));
        assertEquals("main\n  at x\n", line.get("threads").textValue());
        assertEquals("step 3 hangs", line.get("message").textValue());
        assertEquals(7, line.get("exit_code").intValue());
    }
}
