package jlora.trainer.launch;

import jlora.runtime.JloraException;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What Kubernetes is asked for beside the plan's own needs.
 *
 * @param name of all objects
 * @param cpus of each worker
 * @param grace seconds from the signal to the end
 * @param retries after failures that may pass; preemptions do not count
 * @param metricsPort of the first worker of a pod
 * @param user and group that pods run as, and that volumes are made writable for
 * @param tolerations keys of taints that do not keep pods away
 */
public record KubernetesSettings(
        String name,
        Optional<String> namespace,
        String image,
        Optional<String> queue,
        Optional<String> serviceAccount,
        Optional<String> priorityClass,
        List<Mount> volumes,
        Map<String, String> nodeSelector,
        List<String> tolerations,
        int cpus,
        int grace,
        int retries,
        int metricsPort,
        int user) {
    private static final Pattern NAME = Pattern.compile("[a-z]([a-z0-9-]*[a-z0-9])?");

    /** Names of pods and hosts are made of it by what comes behind. */
    static final int MOST_NAME_CHARACTERS = 40;

    /** A persistent volume claim, and where pods see it. */
    public record Mount(String claim, Path path, boolean readOnly) {
        private static final Pattern FORM = Pattern.compile("([a-z0-9.-]+):(/[^:]*)(:ro)?");

        static Mount of(String text) {
            Matcher m = FORM.matcher(text);
            if (!m.matches()) {
                throw JloraException.usage(
                        "--volume " + text + " is not CLAIM:/PATH or CLAIM:/PATH:ro.");
            }
            return new Mount(m.group(1), Path.of(m.group(2)).normalize(), m.group(3) != null);
        }
    }

    public KubernetesSettings {
        volumes = List.copyOf(volumes);
        tolerations = List.copyOf(tolerations);
        if (!NAME.matcher(name).matches() || name.length() > MOST_NAME_CHARACTERS) {
            throw JloraException.usage(
                    "'"
                            + name
                            + "' cannot name a job on Kubernetes; give --name with lower-case"
                            + " letters, digits and dashes, at most "
                            + MOST_NAME_CHARACTERS
                            + " of them, a letter first.");
        }
    }

    /** A name made of another: what is not allowed becomes a dash. */
    static String nameFrom(String text) {
        String name =
                text.toLowerCase(java.util.Locale.ROOT)
                        .replaceAll("[^a-z0-9]+", "-")
                        .replaceAll("^[^a-z]+", "");
        name = name.substring(0, Math.min(name.length(), MOST_NAME_CHARACTERS));
        name = name.replaceAll("-+$", "");
        return name.isEmpty() ? "jlora" : name;
    }
}
