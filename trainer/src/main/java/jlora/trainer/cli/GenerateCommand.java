package jlora.trainer.cli;

import jlora.runtime.backend.Backend;
import jlora.runtime.model.Sampler;
import jlora.trainer.config.Purpose;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.Backends;
import jlora.trainer.job.TextGeneration;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

@Command(
        name = "generate",
        description =
                "Continues prompts with a model, and with its adapter where adapter_name_or_path"
                        + " names one.",
        mixinStandardHelpOptions = true)
final class GenerateCommand implements Runnable {
    @Mixin private RunOptions run;

    @Option(
            names = "--prompt",
            paramLabel = "TEXT",
            description =
                    "What to continue; may be given several times. Without it, each line of"
                            + " standard input is one.")
    private List<String> prompts = new ArrayList<>();

    @Option(
            names = "--max-new-tokens",
            defaultValue = "128",
            description = "Default: ${DEFAULT-VALUE}.")
    private int maxNewTokens;

    @Option(
            names = "--temperature",
            defaultValue = "0",
            description = "0 takes the likeliest token. Default: ${DEFAULT-VALUE}.")
    private double temperature;

    @Option(
            names = "--top-p",
            defaultValue = "1",
            description =
                    "Sample from the likeliest tokens that make up this probability. Default:"
                            + " ${DEFAULT-VALUE}.")
    private double topP;

    @Option(
            names = "--merged",
            description = "Merge the adapter into the weights first: same text, base-model speed.")
    private boolean merged;

    @Spec private CommandSpec spec;

    private void note(String note) {
        spec.commandLine().getErr().println("note: " + note);
    }

    @Override
    public void run() {
        if (!(temperature >= 0) || !(topP > 0 && topP <= 1) || maxNewTokens < 1) {
            throw new ParameterException(
                    spec.commandLine(),
                    "--temperature must be 0 or more, --top-p above 0 and at most 1,"
                            + " --max-new-tokens 1 or more");
        }
        RunConfig config = run.load(Purpose.GENERATE);
        PrintWriter out = spec.commandLine().getOut();
        try (Backend backend = Backends.open(config, this::note);
                TextGeneration generation = TextGeneration.open(config, backend, merged)) {
            generation.notes().forEach(this::note);
            Sampler sampler = new Sampler(temperature, topP, config.train().seed());
            for (String prompt : prompts.isEmpty() ? standardInput() : prompts) {
                out.print(prompt);
                generation.run(
                        prompt,
                        maxNewTokens,
                        sampler,
                        piece -> {
                            out.print(piece);
                            out.flush();
                        });
                out.println();
            }
        }
    }

    private static List<String> standardInput() {
        return new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8))
                .lines()
                .toList();
    }
}
