package jlora.trainer.cli;

import jlora.trainer.config.Purpose;
import jlora.trainer.config.RunConfig;
import jlora.trainer.job.Bytes;
import jlora.trainer.job.MergeJob;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

import java.io.PrintWriter;
import java.util.Locale;

@Command(
        name = "merge",
        description =
                "Adds the adapter in adapter_name_or_path to the model in model_name_or_path and"
                        + " writes the model that results to output_dir, for programs that know no"
                        + " adapters.",
        mixinStandardHelpOptions = true)
final class MergeCommand implements Runnable {
    @Mixin private RunOptions run;

    @Spec private CommandSpec spec;

    @Override
    public void run() {
        RunConfig config = run.load(Purpose.MERGE);
        MergeJob.Result result =
                MergeJob.run(
                        config.model().modelNameOrPath().orElseThrow(),
                        config.model().adapterNameOrPath().orElseThrow(),
                        config.output().outputDir().orElseThrow(),
                        config.output().overwrite(),
                        config.model().allowOtherBase());
        PrintWriter out = spec.commandLine().getOut();
        out.printf(
                Locale.ROOT,
                "Merged %d modules; %d tensors, %s, in %s%n",
                result.modules(),
                result.tensors(),
                Bytes.text(result.bytes()),
                result.output());
        result.drift()
                .ifPresent(
                        drift ->
                                out.printf(
                                        Locale.ROOT,
                                        "The adapter was trained over these weights in %s, which"
                                            + " differ from them by %.2f%% (root mean square of all"
                                            + " layers); its own update is %.2f%%. It was merged"
                                            + " into the weights as they are; nothing was"
                                            + " quantised.%n",
                                        drift.storage(),
                                        100 * drift.base(),
                                        100 * drift.update()));
    }
}
