package jlora.trainer.cli;

import jlora.runtime.JloraException;
import jlora.runtime.adapter.lora.LoraConfig;
import jlora.runtime.io.HuggingFaceFolder;
import jlora.runtime.io.PeftFolder;
import jlora.runtime.io.SafetensorsEntry;
import jlora.runtime.io.SafetensorsFile;
import jlora.trainer.job.Bytes;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collection;
import java.util.Locale;

@Command(
        name = "inspect",
        description =
                "Shows what a safetensors file, a model folder or an adapter folder holds, and"
                        + " checks that it is whole.",
        mixinStandardHelpOptions = true)
final class InspectCommand implements Runnable {
    @Parameters(
            paramLabel = "PATH",
            description = "A .safetensors file, a Hugging Face folder or a PEFT folder.")
    private Path path;

    @Option(names = "--tensors", description = "List every tensor.")
    private boolean tensors;

    @Spec private CommandSpec spec;

    @Override
    public void run() {
        PrintWriter out = spec.commandLine().getOut();
        if (Files.isRegularFile(path)) {
            try (SafetensorsFile file = SafetensorsFile.open(path)) {
                out.println("safetensors file, metadata " + file.metadata());
                list(out, file.entries().values(), true);
            }
        } else if (Files.exists(path.resolve("adapter_config.json"))) {
            try (PeftFolder peft = PeftFolder.open(path)) {
                LoraConfig c = peft.config();
                out.printf(
                        Locale.ROOT,
                        "LoRA adapter, r %d, lora_alpha %s%s, lora_dropout %s, %d modules, base"
                                + " %s%n",
                        c.r(),
                        c.loraAlpha(),
                        c.useRslora() ? " (rsLoRA)" : "",
                        c.loraDropout(),
                        peft.modules().size(),
                        c.baseModelNameOrPath().orElse("not named"));
                list(
                        out,
                        peft.modules().values().stream()
                                .flatMap(m -> java.util.stream.Stream.of(m.a(), m.b()))
                                .toList(),
                        tensors);
            }
        } else if (Files.isDirectory(path)) {
            try (HuggingFaceFolder folder = HuggingFaceFolder.open(path)) {
                out.println(
                        "model folder, model_type "
                                + folder.config().path("model_type").asText("not given"));
                list(out, folder.tensors().values(), tensors);
                out.println("fingerprint " + folder.fingerprint());
            }
        } else {
            throw JloraException.usage(path + ": there is no such file or folder; check the path.");
        }
    }

    private static void list(PrintWriter out, Collection<SafetensorsEntry> entries, boolean each) {
        long elements = 0;
        long bytes = 0;
        for (SafetensorsEntry e : entries) {
            if (each) {
                out.printf("  %-5s %-18s %s%n", e.type(), Arrays.toString(e.shape()), e.name());
            }
            elements += e.rows() * e.cols();
            bytes += e.data().byteSize();
        }
        out.printf(
                Locale.ROOT,
                "%,d tensors, %,d parameters, %s%n",
                entries.size(),
                elements,
                Bytes.text(bytes));
    }
}
