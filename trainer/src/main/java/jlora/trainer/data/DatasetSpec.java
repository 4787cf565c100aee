package jlora.trainer.data;

import java.nio.file.Path;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalInt;

/**
 * One data set to read.
 *
 * @param path a JSONL file, plain or gzip
 * @param type name of a {@link jlora.trainer.data.format.DatasetFormat}
 * @param fields the file's own names for the type's fields, where they differ: {@code prompt ->
 *     question}
 * @param limit take only that many rows from the start
 */
public record DatasetSpec(Path path, String type, Map<String, String> fields, OptionalInt limit) {
    public DatasetSpec {
        Objects.requireNonNull(path, "path");
        Objects.requireNonNull(type, "type");
        fields = Map.copyOf(fields);
        if (limit.isPresent() && limit.getAsInt() < 1) {
            throw new IllegalArgumentException("limit " + limit.getAsInt());
        }
    }

    public DatasetSpec(Path path, String type) {
        this(path, type, Map.of(), OptionalInt.empty());
    }
}
