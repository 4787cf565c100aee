package jlora.trainer.launch;

import java.io.PrintWriter;

/**
 * Where a launch says something.
 *
 * @param dryRun show on {@code out} what would be written and run, and do neither
 * @param out scripts and manifests, and nothing else: they may go into a pipe
 * @param err words about them
 */
public record Console(boolean dryRun, PrintWriter out, PrintWriter err) {
    void note(String line) {
        err.println(line);
        err.flush();
    }
}
