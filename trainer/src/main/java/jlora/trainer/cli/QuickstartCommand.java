package jlora.trainer.cli;

import jlora.runtime.StopRequest;
import jlora.trainer.config.LogFormat;
import jlora.trainer.quickstart.Quickstart;
import jlora.trainer.quickstart.QuickstartData;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

@Command(
        name = "quickstart",
        description = {
            "Fine-tunes the small model that comes with jlora and shows what it writes before and"
                    + " after; less than a minute.",
            "The run is quickstart/quickstart.yaml."
        },
        mixinStandardHelpOptions = true)
final class QuickstartCommand implements Runnable {
    @Parameters(
            arity = "0..*",
            paramLabel = "KEY=VALUE",
            description = "Any key of the configuration, as --key value, --key=value or key=value.")
    private List<String> overrides = new ArrayList<>();

    @Spec private CommandSpec spec;

    @Override
    public void run() {
        Path home = Path.of(System.getProperty("jlora.home", ""));
        Quickstart.requireFiles(home);
        List<String> words = new ArrayList<>(List.of("--overwrite"));
        words.addAll(overrides);
        StopRequest stop = new StopRequest();
        ErrorLog errors = new ErrorLog(spec.commandLine().getErr(), LogFormat.TEXT);
        try (var _ = Signals.whileRunning(stop, errors)) {
            new Quickstart(Quickstart.configFile(home), words, spec.commandLine().getOut())
                    .stopBy(stop)
                    .run();
        }
    }

    @Command(
            name = "data",
            description =
                    "Makes the text and the tokenizer of the quickstart's base model, and the"
                            + " records it is fine-tuned on, and writes them to a folder.",
            mixinStandardHelpOptions = true)
    void data(@Parameters(paramLabel = "FOLDER") Path folder) {
        QuickstartData.write(folder);
        spec.commandLine().getOut().println("Text, tokenizer and records in " + folder);
    }
}
