package jlora.trainer.cli;

import jlora.trainer.config.ConfigReference;
import jlora.trainer.config.RunConfig;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

@Command(
        name = "config",
        description = "Checks and explains configurations.",
        mixinStandardHelpOptions = true,
        synopsisSubcommandLabel = "COMMAND")
final class ConfigCommand implements Runnable {
    private static final int HELP_WIDTH = 100;

    @Spec private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(
                spec.commandLine(), "a command is missing: validate, show or keys");
    }

    @Command(
            name = "validate",
            description = "Checks a configuration and opens nothing that it names.",
            mixinStandardHelpOptions = true)
    void validate(@Mixin RunOptions run) {
        run.load();
        spec.commandLine().getOut().println("The configuration is valid.");
    }

    @Command(
            name = "show",
            description = "Prints the configuration with every default filled in.",
            mixinStandardHelpOptions = true)
    void show(@Mixin RunOptions run) {
        RunConfig config = run.load();
        spec.commandLine().getOut().print(config.toYaml());
    }

    @Command(name = "keys", description = "Lists all keys.", mixinStandardHelpOptions = true)
    void keys() {
        spec.commandLine().getOut().print(ConfigReference.help(HELP_WIDTH));
    }
}
