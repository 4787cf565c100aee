package jlora.trainer.config;

import jlora.runtime.JloraException;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * The log_format that somebody asks for whose configuration may be wrong in other places: the error
 * about those is to come out in this format.
 */
final class RequestedLogFormat {
    private static final String KEY = "log_format";

    private RequestedLogFormat() {}

    static LogFormat of(Optional<Path> file, List<String> words) {
        return onCommandLine(words)
                .or(() -> file.flatMap(RequestedLogFormat::inFile))
                .filter(Keys.nameOf(LogFormat.JSON)::equals)
                .map(_ -> LogFormat.JSON)
                .orElse(LogFormat.TEXT);
    }

    /** The last word wins, as in {@link Overrides}. */
    private static Optional<String> onCommandLine(List<String> words) {
        Optional<String> found = Optional.empty();
        for (int i = 0; i < words.size(); i++) {
            String word = words.get(i);
            int equals = word.indexOf('=');
            String name = (equals < 0 ? word : word.substring(0, equals)).replace('-', '_');
            if (equals >= 0 && (name.equals(KEY) || name.equals("__" + KEY))) {
                found = Optional.of(word.substring(equals + 1).strip());
            } else if (name.equals("__" + KEY) && i + 1 < words.size()) {
                found = Optional.of(words.get(i + 1).strip());
            }
        }
        return found;
    }

    private static Optional<String> inFile(Path file) {
        try {
            Raw.Entry entry = YamlText.read(file).entries().get(KEY);
            return entry != null && entry.value() instanceof Raw.Scalar scalar
                    ? Optional.of(scalar.text())
                    : Optional.empty();
        } catch (JloraException e) {
            return Optional.empty(); // What is wrong with the file is told elsewhere.
        }
    }
}
