package jlora.trainer.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;

import jlora.runtime.backend.Backend;
import jlora.runtime.io.Json;
import jlora.trainer.config.Purpose;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.Backends;
import jlora.trainer.job.EvalJob;
import jlora.trainer.loop.Evaluator;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;

@Command(
        name = "eval",
        description =
                "Evaluates a model, with its adapter where adapter_name_or_path names one, on"
                        + " eval_datasets, or on the rows that eval_split holds out, or on all of"
                        + " datasets.",
        mixinStandardHelpOptions = true)
final class EvalCommand implements Runnable {
    @Mixin private RunOptions run;

    @Option(
            names = "--logits",
            paramLabel = "FILE",
            description =
                    "Also save all logits as one f32 tensor 'logits' [rows, length, vocabulary] of"
                            + " a safetensors file, rows padded with zeros to the longest.")
    private Optional<Path> logits = Optional.empty();

    @Option(names = "--json", description = "Print the result as JSON.")
    private boolean json;

    @Spec private CommandSpec spec;

    private void note(String note) {
        spec.commandLine().getErr().println("note: " + note);
    }

    @Override
    public void run() {
        RunConfig config = run.load(Purpose.EVAL);
        PrintWriter out = spec.commandLine().getOut();
        try (Backend backend = Backends.open(config, this::note);
                EvalJob job = new EvalJob(config, backend)) {
            job.notes().forEach(this::note);
            Evaluator.Result result = job.evaluate();
            logits.ifPresent(job::writeLogits);
            if (json) {
                ObjectNode node = Json.object();
                node.put("eval_loss", result.loss());
                node.put("eval_perplexity", result.perplexity());
                node.put("eval_tokens", result.tokens());
                logits.ifPresent(file -> node.put("logits", file.toString()));
                out.println(new String(Json.pretty(node), StandardCharsets.UTF_8));
            } else {
                out.printf(
                        Locale.ROOT,
                        "eval_loss %.6f  perplexity %.4f  (%,d tokens)%n",
                        result.loss(),
                        result.perplexity(),
                        result.tokens());
                logits.ifPresent(file -> out.println("logits in " + file));
            }
        }
    }
}
