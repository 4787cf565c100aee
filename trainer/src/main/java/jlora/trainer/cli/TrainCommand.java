package jlora.trainer.cli;

import jlora.runtime.StopRequest;
import jlora.trainer.config.Purpose;
import jlora.trainer.job.TrainRun;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

@Command(
        name = "train",
        description =
                "Trains an adapter (or, with --method full, all weights) and writes it to"
                        + " output_dir.",
        mixinStandardHelpOptions = true)
final class TrainCommand implements Runnable {
    @Mixin private RunOptions run;
    @Spec private CommandSpec spec;

    @Override
    public void run() {
        StopRequest stop = new StopRequest();
        ErrorLog errors = new ErrorLog(spec.commandLine().getErr(), run.logFormat());
        try (var _ = Signals.whileRunning(stop, errors)) {
            new TrainRun(run.load(Purpose.TRAIN), spec.commandLine().getOut())
                    .stopBy(stop)
                    .onHang(new Hang(errors))
                    .run();
        }
    }
}
