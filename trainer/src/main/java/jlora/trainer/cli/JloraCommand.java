package jlora.trainer.cli;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The root command. A new command is one file beside this one and one line in the list below. */
@Command(
        name = "jlora",
        description = "Fine-tunes language models with LoRA.",
        synopsisSubcommandLabel = "COMMAND",
        versionProvider = VersionInfo.class,
        mixinStandardHelpOptions = true,
        sortOptions = false,
        subcommands = {
            QuickstartCommand.class,
            TrainCommand.class,
            LaunchCommand.class,
            PlanCommand.class,
            EvalCommand.class,
            GenerateCommand.class,
            MergeCommand.class,
            InspectCommand.class,
            CkptCommand.class,
            BenchCommand.class,
            DoctorCommand.class,
            ConfigCommand.class
        })
final class JloraCommand implements Runnable {
    @Spec private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(spec.commandLine(), "a command is missing");
    }
}
