package jlora.trainer.data;

import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.trainer.data.format.DatasetFormat;
import jlora.trainer.data.format.EncodedRow;
import jlora.trainer.data.format.Formats;
import jlora.trainer.data.format.JsonRow;

import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Reads data sets: one thread takes the file apart into lines, the others parse and tokenise them,
 * and rows are stored in the file's order whatever the number of threads. Only a few blocks of
 * lines are in flight at a time.
 */
public final class DatasetLoader {
    private static final int BLOCK_LINES = 256;
    private static final int BLOCK_BYTES = 1 << 18;

    private final EncodeOptions options;
    private final Runnable poll;
    private final ExampleStore store = new ExampleStore();
    private long truncated;
    private long merged;

    private DatasetLoader(EncodeOptions options, Runnable poll) {
        this.options = options;
        this.poll = poll;
    }

    /** The rows of all data sets, one after the other, and what they hold. */
    public record Loaded(Examples examples, DataStatistics statistics) {}

    /**
     * Reads and checks the data sets.
     *
     * @param threads that parse and tokenise
     * @throws JloraException on the first bad row in the files' order (naming file and line), on a
     *     file without rows, and when no row has a trained token
     */
    public static Loaded load(List<DatasetSpec> specs, EncodeOptions options, int threads) {
        return load(specs, options, threads, () -> {});
    }

    /**
     * The same.
     *
     * @param poll called every few thousand tokens; what it throws ends the reading
     */
    public static Loaded load(
            List<DatasetSpec> specs, EncodeOptions options, int threads, Runnable poll) {
        if (specs.isEmpty()) {
            throw JloraException.usage("No data set is named; add one under datasets.");
        }
        var loader = new DatasetLoader(options, poll);
        try (ExecutorService pool =
                Executors.newFixedThreadPool(
                        threads, Thread.ofPlatform().daemon().name("jlora-data-", 1).factory())) {
            for (DatasetSpec spec : specs) {
                try {
                    loader.read(spec, pool, 2 * threads + 1);
                } catch (RuntimeException | Error e) {
                    pool.shutdownNow();
                    throw e;
                }
            }
        }
        return loader.loaded(specs);
    }

    private Loaded loaded(List<DatasetSpec> specs) {
        Examples examples = Examples.of(store);
        var statistics =
                new DataStatistics(
                        examples.size(),
                        examples.tokens(),
                        examples.trainedTokens(),
                        truncated,
                        examples.allMaskedRows(),
                        merged,
                        OptionalDouble.empty());
        if (statistics.trainedTokens() == 0) {
            throw JloraException.corrupt(
                    "None of the "
                            + examples.size()
                            + (examples.size() == 1 ? " row of " : " rows of ")
                            + String.join(
                                    ", ", specs.stream().map(s -> s.path().toString()).toList())
                            + " has a token to train on (every label after the first is -100"
                            + (truncated > 0 ? ", or was cut off by max_length" : "")
                            + "); correct the labels, or raise max_length.");
        }
        return new Loaded(examples, statistics);
    }

    private record Line(int number, byte[] bytes) {}

    private void read(DatasetSpec spec, ExecutorService pool, int blocksInFlight) {
        DatasetFormat format = Formats.named(spec.type());
        Map<String, String> names = names(spec, format);
        if (format.needsTokenizer() && options.tokenizer().isEmpty()) {
            throw JloraException.usage(
                    "Data set "
                            + spec.path()
                            + " of type "
                            + spec.type()
                            + " needs a tokenizer; put a tokenizer.json beside the model, or use"
                            + " type tokens.");
        }
        int before = store.size();
        int limit = spec.limit().orElse(Integer.MAX_VALUE);
        Deque<Future<List<EncodedRow>>> inFlight = new ArrayDeque<>();
        try (LineReader lines = LineReader.open(spec.path())) {
            int taken = 0;
            boolean more = true;
            while (more) {
                poll.run();
                List<Line> block = new ArrayList<>(BLOCK_LINES);
                int bytes = 0;
                while (more && block.size() < BLOCK_LINES && bytes < BLOCK_BYTES) {
                    byte[] line = taken < limit ? nextLine(lines, inFlight) : null;
                    more = line != null;
                    if (more) {
                        block.add(new Line(lines.line(), line));
                        bytes += line.length;
                        taken++;
                    }
                }
                inFlight.add(pool.submit(() -> encode(spec.path(), format, names, block)));
                while (inFlight.size() >= blocksInFlight) {
                    store(inFlight.remove());
                }
            }
            while (!inFlight.isEmpty()) {
                store(inFlight.remove());
            }
        }
        if (store.size() == before) {
            throw JloraException.corrupt(
                    "Data set "
                            + spec.path()
                            + " holds no rows; write one JSON object a line, or name another"
                            + " file.");
        }
    }

    // A row before the damage may be bad too, and the first problem in the file's order is the one
    // to report.
    private byte[] nextLine(LineReader lines, Deque<Future<List<EncodedRow>>> inFlight) {
        try {
            return lines.next();
        } catch (JloraException damaged) {
            while (!inFlight.isEmpty()) {
                store(inFlight.remove());
            }
            throw damaged;
        }
    }

    private static Map<String, String> names(DatasetSpec spec, DatasetFormat format) {
        Map<String, String> names = new HashMap<>();
        format.fields().forEach(field -> names.put(field, field));
        spec.fields()
                .forEach(
                        (field, name) -> {
                            if (names.replace(field, name) == null) {
                                throw JloraException.usage(
                                        "Data set type "
                                                + format.name()
                                                + " has no field '"
                                                + field
                                                + "' (data set "
                                                + spec.path()
                                                + "); it has "
                                                + String.join(", ", format.fields())
                                                + ".");
                            }
                        });
        return Map.copyOf(names);
    }

    private List<EncodedRow> encode(
            Path file, DatasetFormat format, Map<String, String> names, List<Line> lines) {
        List<EncodedRow> rows = new ArrayList<>(lines.size());
        for (Line line : lines) {
            String text = utf8(file, line);
            rows.add(format.encode(JsonRow.parse(file, line.number(), text, names), options));
        }
        return rows;
    }

    private static String utf8(Path file, Line line) {
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(line.bytes()))
                    .toString();
        } catch (CharacterCodingException e) {
            throw new JloraException(
                    ExitCode.CORRUPT_INPUT,
                    file
                            + ":"
                            + line.number()
                            + ": the line is not UTF-8 ("
                            + e.getMessage()
                            + "); convert the file to UTF-8.",
                    e);
        }
    }

    private void store(Future<List<EncodedRow>> block) {
        try {
            for (EncodedRow row : block.get()) {
                store.add(row.example());
                truncated += row.truncated() ? 1 : 0;
                merged += row.boundaryMerged() ? 1 : 0;
            }
        } catch (ExecutionException e) {
            switch (e.getCause()) {
                case RuntimeException cause -> throw cause;
                case Error cause -> throw cause;
                default -> throw new IllegalStateException(e.getCause());
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while reading data", e);
        }
    }
}
