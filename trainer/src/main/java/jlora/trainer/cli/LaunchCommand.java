package jlora.trainer.cli;

import jlora.trainer.launch.Launcher;
import jlora.trainer.launch.Launchers;

import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

import java.util.function.Supplier;
import java.util.stream.Collectors;

@Command(
        name = "launch",
        description = {
            "Starts a job of one or several workers: plans it, refuses what cannot fit (exit code"
                    + " 4), asks the scheduler for what it needs, and submits it.",
            "More: docs/clusters.md."
        },
        modelTransformer = LaunchCommand.Subcommands.class,
        mixinStandardHelpOptions = true)
final class LaunchCommand implements Runnable {
    /** One subcommand for each launcher that there is. */
    static final class Subcommands implements CommandLine.IModelTransformer {
        @Override
        public CommandSpec transform(CommandSpec spec) {
            for (Supplier<Launcher> kind : Launchers.ALL) {
                Launcher launcher = kind.get();
                CommandLine command = new CommandLine(new LaunchOneCommand(launcher));
                command.getCommandSpec()
                        .addMixin("launcher", CommandSpec.forAnnotatedObject(launcher));
                command.getCommandSpec().usageMessage().description(launcher.description());
                spec.addSubcommand(launcher.name(), command);
            }
            return spec;
        }
    }

    @Spec private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(
                spec.commandLine(),
                "where to launch is missing: "
                        + Launchers.ALL.stream()
                                .map(kind -> kind.get().name())
                                .collect(Collectors.joining(", ")));
    }
}
