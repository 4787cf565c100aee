package jlora.trainer.cli;

import jlora.trainer.job.JloraVersion;

import picocli.CommandLine.IVersionProvider;

/** What {@code --version} prints: jlora's version, and the Java and processor it runs on. */
final class VersionInfo implements IVersionProvider {
    @Override
    public String[] getVersion() {
        return new String[] {line()};
    }

    static String line() {
        return "jlora %s (Java %s, %s %s)"
                .formatted(
                        JloraVersion.number(),
                        System.getProperty("java.version"),
                        System.getProperty("os.name"),
                        System.getProperty("os.arch"));
    }
}
