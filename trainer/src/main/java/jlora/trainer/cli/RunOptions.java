package jlora.trainer.cli;

import jlora.trainer.config.LogFormat;
import jlora.trainer.config.Purpose;
import jlora.trainer.config.RunConfig;

import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The configuration of a command: a file, and any key of it on the command line. */
final class RunOptions {
    @Option(
            names = {"-c", "--config"},
            paramLabel = "FILE",
            description = "Run configuration, YAML.")
    private Optional<Path> file = Optional.empty();

    @Parameters(
            arity = "0..*",
            paramLabel = "KEY=VALUE",
            description = "Any key of the configuration, as --key value, --key=value or key=value.")
    private List<String> overrides = new ArrayList<>();

    RunConfig load() {
        return RunConfig.load(file, overrides);
    }

    /**
     * For commands that need no file.
     *
     * @param always words that hold with a file too
     * @param defaults words that a file replaces
     */
    RunConfig load(List<String> always, List<String> defaults) {
        List<String> words = new ArrayList<>(always);
        if (file.isEmpty()) {
            words.addAll(defaults);
        }
        words.addAll(overrides);
        return RunConfig.load(file, words);
    }

    /** How errors of this command are told, whether or not its configuration can be loaded. */
    LogFormat logFormat() {
        return RunConfig.logFormat(file, overrides);
    }

    /** The same with words that win over all others. */
    RunConfig load(List<String> winning) {
        List<String> words = new ArrayList<>(overrides);
        words.addAll(winning);
        return RunConfig.load(file, words);
    }

    /** These options as another process takes them in the same folder. */
    List<String> words() {
        List<String> words = new ArrayList<>();
        file.ifPresent(path -> words.addAll(List.of("-c", path.toString())));
        words.addAll(overrides);
        return words;
    }

    RunConfig load(Purpose purpose) {
        RunConfig config = load();
        config.require(purpose);
        return config;
    }
}
