package jlora.trainer.data.format;

import jlora.runtime.JloraException;

import java.util.List;
import java.util.stream.Collectors;

/** The data set types. A new one is one class and one line here. */
public final class Formats {
    private static final List<DatasetFormat> ALL =
            List.of(new TextFormat(), new PromptCompletionFormat(), new TokensFormat());

    private Formats() {}

    public static List<DatasetFormat> all() {
        return ALL;
    }

    /** The format of that name; an unknown one is a usage error that lists them. */
    public static DatasetFormat named(String name) {
        for (DatasetFormat format : ALL) {
            if (format.name().equals(name)) {
                return format;
            }
        }
        throw JloraException.usage(
                "Data set type '"
                        + name
                        + "' is unknown; use one of "
                        + ALL.stream().map(DatasetFormat::name).collect(Collectors.joining(", "))
                        + ".");
    }
}
