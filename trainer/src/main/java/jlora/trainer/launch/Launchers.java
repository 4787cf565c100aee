package jlora.trainer.launch;

import java.util.List;
import java.util.function.Supplier;

/** Every way to start a job; a new one is one line here, and a section in docs/clusters.md. */
public final class Launchers {
    public static final List<Supplier<Launcher>> ALL =
            List.of(LocalLauncher::new, SlurmLauncher::new, KubernetesLauncher::new);

    private Launchers() {}
}
