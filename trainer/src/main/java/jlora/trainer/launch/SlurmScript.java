package jlora.trainer.launch;

import jlora.runtime.JloraException;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The text for {@code sbatch}. */
final class SlurmScript {
    private final LaunchPlan plan;
    private final SlurmSettings settings;
    private final LaunchFolder folder;
    private final StringBuilder text = new StringBuilder();

    private SlurmScript(LaunchPlan plan, SlurmSettings settings, LaunchFolder folder) {
        this.plan = plan;
        this.settings = settings;
        this.folder = folder;
    }

    static String of(LaunchPlan plan, SlurmSettings settings, LaunchFolder folder) {
        return new SlurmScript(plan, settings, folder).text();
    }

    private String text() {
        line("#!/bin/bash");
        directives();
        line("# jlora launch slurm: " + plan.summary() + ".");
        line("# Exit code 75 (stopped, with a checkpoint) puts the job back into the queue; any");
        line("# other ends it. docs/clusters.md has the table.");
        line("export JLORA_NO_BUILD=1 JLORA_JAVA_OPTS=" + javaOptions());
        line("marks=" + quote(folder.file("marks")) + "/$SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0}");
        line("mkdir -p -- \"$marks\" || exit 8");
        line("# The workers are told to stop as well: stay and see how they end.");
        line("trap : HUP INT TERM USR1");
        line("unset RANK LOCAL_RANK WORLD_SIZE MASTER_ADDR MASTER_PORT");
        if (plan.gpu()) {
            line(
                    "MASTER_ADDR=$(scontrol show hostnames \"$SLURM_JOB_NODELIST\" | head -n 1) ||"
                            + " exit 2");
            // Two jobs may share a machine.
            line("MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))");
            line("export MASTER_ADDR MASTER_PORT");
        }
        line("command=(" + Shell.quote(command()) + ")");
        line("rank=" + Shell.quote(RankScript.TEXT));
        line(
                "srun --kill-on-bad-exit=1"
                        + (plan.gpu() ? "" : " --mpi=pmix")
                        + " bash -c \"$rank\" "
                        + "jlora-rank \"$marks\" \"${command[@]}\"");
        line("code=$?");
        line("set -- \"$marks\"/preempted-*");
        line("if [[ -s $marks/failed ]]; then");
        line("    code=$(<\"$marks/failed\")");
        line("elif [[ $code == 0 && -e $1 ]]; then");
        line("    code=75");
        line("fi");
        line("[[ $code == 0 ]] || cat -- \"$marks\"/rank-*.json 2>/dev/null");
        line("rm -rf -- \"$marks\"");
        line("if [[ $code == 75 ]]; then");
        line(
                "    echo \"jlora: job $SLURM_JOB_ID stopped with a checkpoint; it goes back into"
                        + " the queue\"");
        line("    scontrol requeue \"$SLURM_JOB_ID\"");
        line("fi");
        line("exit \"$code\"");
        return text.toString();
    }

    private void directives() {
        Layout layout = plan.layout();
        directive("job-name", settings.jobName());
        directive("nodes", layout.nodes());
        directive("ntasks", layout.workers());
        directive("ntasks-per-node", layout.perNode());
        directive("cpus-per-task", settings.cpus());
        directive("mem", plan.nodeMib() + "M");
        if (plan.gpu()) {
            directive("gpus-per-node", layout.perNode());
        }
        directive("signal", "TERM@" + settings.grace());
        line("#SBATCH --requeue");
        directive("open-mode", "append");
        // In a file name % stands for something else.
        directive("output", folder.file("slurm-").toString().replace("%", "%%") + "%j.out");
        optional("partition", settings.partition());
        optional("account", settings.account());
        optional("qos", settings.qos());
        optional("time", settings.time());
        optional("constraint", settings.constraint());
        settings.extra().forEach(option -> line("#SBATCH " + oneLine(option)));
    }

    private List<String> command() {
        List<String> words = new ArrayList<>(List.of(settings.program().toString(), "train"));
        words.addAll(List.of("-c", folder.file("config.yaml").toString()));
        words.addAll(plan.jobWords());
        if (!plan.gpu() && !plan.config().isSet("cpu_threads")) {
            words.add("cpu_threads=" + settings.cpus());
        }
        return words;
    }

    /** The heap that was planned, and behind it what the user's environment says. */
    private String javaOptions() {
        return "\"" + plan.memory().javaOptions() + " ${JLORA_JAVA_OPTS:-}\"";
    }

    private void optional(String name, Optional<String> value) {
        value.ifPresent(v -> directive(name, v));
    }

    private void directive(String name, int value) {
        directive(name, String.valueOf(value));
    }

    /** sbatch splits at spaces, and knows double quotes and backslashes. */
    private void directive(String name, String value) {
        String safe = oneLine(value);
        boolean plain = safe.matches("[\\w@%+=:,./-]+");
        line(
                "#SBATCH --"
                        + name
                        + "="
                        + (plain
                                ? safe
                                : "\"" + safe.replace("\\", "\\\\").replace("\"", "\\\"") + "\""));
    }

    private static String oneLine(String value) {
        if (value.chars().anyMatch(c -> c < 0x20)) {
            throw JloraException.usage(
                    "'"
                            + value.replaceAll("\\p{Cntrl}", " ")
                            + "' has a line end or another control character in it, which a script"
                            + " for Slurm cannot hold; use a plain name.");
        }
        return value;
    }

    private static String quote(Path path) {
        return Shell.quote(oneLine(path.toString()));
    }

    private void line(String line) {
        text.append(line).append('\n');
    }
}
