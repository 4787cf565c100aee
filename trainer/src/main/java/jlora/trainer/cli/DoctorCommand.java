package jlora.trainer.cli;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.trainer.job.Bytes;
import jlora.trainer.job.Device;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

import java.io.PrintWriter;
import java.util.Locale;

@Command(
        name = "doctor",
        description = "Shows what jlora found on this machine, and what is missing with the fix.",
        mixinStandardHelpOptions = true)
final class DoctorCommand implements Runnable {
    @Spec private CommandSpec spec;

    @Override
    public void run() {
        PrintWriter out = spec.commandLine().getOut();
        line(out, "jlora", VersionInfo.line());
        line(out, "java home", System.getProperty("java.home"));
        line(out, "memory a run can take", Bytes.text(Device.cpu().bytes()));
        line(out, "Java heap", Bytes.text(Runtime.getRuntime().maxMemory()));
        try (Backend backend = new CpuBackend(CpuOptions.defaults())) {
            line(out, "CPU backend", backend.describe());
        }
        line(out, "CUDA backend", "not part of this build: device: cpu is what there is");
    }

    private static void line(PrintWriter out, String what, String found) {
        out.printf(Locale.ROOT, "%-24s%s%n", what, found);
        out.flush();
    }
}
