package jlora.trainer.cli;

import jlora.trainer.config.LogFormat;
import jlora.trainer.metrics.JsonLog;
import jlora.trainer.metrics.RunEvent;

import java.io.PrintWriter;
import java.time.Clock;

/** What the program says on stderr, in the form that is asked for; any thread. */
record ErrorLog(PrintWriter err, LogFormat format) {
    /**
     * @param field of the event that holds lines for people, which follow its text
     */
    void say(RunEvent event, String field) {
        switch (format) {
            case TEXT -> {
                err.println("jlora: " + event.text());
                if (event.fields().get(field) instanceof String lines) {
                    err.print(lines);
                }
                err.flush();
            }
            case JSON -> new JsonLog(err, Clock.systemUTC()).say(event);
        }
    }

    void say(RunEvent event) {
        say(event, "");
    }
}
