package jlora.runtime.io;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.backend.HostRows;
import jlora.runtime.model.Model;
import jlora.runtime.tensor.DType;
import jlora.runtime.weight.CheckpointTensor;
import jlora.runtime.weight.HeldCodes;
import jlora.runtime.weight.HeldFp8;
import jlora.runtime.weight.HeldRows;
import jlora.runtime.weight.WeightFill;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;

/**
 * Streams a checkpoint's tensors into a model's placed weights, each into its rows of the fused
 * weight.
 */
public final class ModelLoader {
    /** Buffers that older checkpoints carry though they are not weights. */
    private static final Pattern NOT_WEIGHTS =
            Pattern.compile(".*\\.attn\\.(masked_)?bias|.*\\.rotary_emb\\.inv_freq");

    private ModelLoader() {}

    /**
     * Finds each of the model's tensors in a checkpoint, under its own name or without the name of
     * the base model in front ({@code transformer.}, {@code model.}), as checkpoints of the bare
     * base model have it.
     *
     * @return checkpoint entries by the model's names
     * @throws JloraException when a tensor is missing, has the wrong shape, or is left over
     */
    public static Map<String, SafetensorsEntry> match(Model model, HuggingFaceFolder folder) {
        Map<String, SafetensorsEntry> found = new ConcurrentHashMap<>();
        Set<String> used = new HashSet<>();
        for (CheckpointTensor tensor : model.weights().checkpoint()) {
            String name = tensor.name();
            String bare = name.substring(name.indexOf('.') + 1);
            String present = folder.has(name) ? name : bare;
            if (!folder.has(present)) {
                throw JloraException.corrupt(
                        folder.path()
                                + ": the tensor "
                                + name
                                + " is missing; check that config.json ("
                                + model.config().modelType()
                                + ", "
                                + model.config().layers()
                                + " layers) belongs to these weights.");
            }
            SafetensorsEntry entry = folder.tensor(present);
            checkShape(entry, tensor);
            found.put(name, entry);
            used.add(present);
        }
        Set<String> left = new TreeSet<>(folder.names());
        left.removeAll(used);
        left.removeIf(name -> NOT_WEIGHTS.matcher(name).matches());
        if (model.config().tiedHead()) {
            left.remove("lm_head.weight");
        }
        if (!left.isEmpty()) {
            throw JloraException.corrupt(
                    folder.path()
                            + ": "
                            + left.size()
                            + " tensors have no place in this "
                            + model.config().modelType()
                            + " model, such as "
                            + left.iterator().next()
                            + "; check that config.json belongs to these weights.");
        }
        return found;
    }

    private static void checkShape(SafetensorsEntry entry, CheckpointTensor tensor) {
        long rows = tensor.transposed() ? tensor.cols() : tensor.rows();
        long cols = tensor.transposed() ? tensor.rows() : tensor.cols();
        if (entry.rows() != rows || entry.cols() != cols) {
            throw JloraException.corrupt(
                    entry.file()
                            + ": tensor "
                            + entry.describe()
                            + " should be ["
                            + rows
                            + ", "
                            + cols
                            + "] by config.json; check that the two belong together.");
        }
    }

    /** Fills the model's weights, which are placed in memory of the backend. */
    public static void load(Backend backend, Model model, HuggingFaceFolder folder) {
        load(backend, model, folder, () -> {});
    }

    /**
     * The same.
     *
     * @param poll called with every few megabytes, by any thread; what it throws ends the loading
     */
    public static void load(Backend backend, Model model, HuggingFaceFolder folder, Runnable poll) {
        Map<String, SafetensorsEntry> entries = match(model, folder);
        List<HostRows> plain = new ArrayList<>();
        for (CheckpointTensor tensor : model.weights().checkpoint()) {
            SafetensorsEntry entry = entries.get(tensor.name());
            HostRows.Writer writer = writer(tensor, entry, poll);
            switch (tensor.held()) {
                case HeldRows held -> plain.add(new HostRows(held.here(), writer));
                case HeldCodes _, HeldFp8 _ ->
                        WeightFill.fill(backend, tensor, exact(entry), rows(backend, writer));
            }
        }
        backend.upload(plain);
    }

    /** A type that holds a file's values as they are, as far as weights may have it. */
    private static DType exact(SafetensorsEntry entry) {
        return entry.type() == SafetensorsType.BF16 ? DType.BF16 : DType.F32;
    }

    /** One tensor of a checkpoint, row by row, in any type that holds weights. */
    public static WeightFill.Rows rows(
            Backend backend, CheckpointTensor tensor, SafetensorsEntry entry) {
        return rows(backend, writer(tensor, entry, () -> {}));
    }

    private static WeightFill.Rows rows(Backend backend, HostRows.Writer writer) {
        return (to, first) ->
                backend.upload(
                        List.of(new HostRows(to, (rows, row) -> writer.write(rows, first + row))));
    }

    private static HostRows.Writer writer(
            CheckpointTensor tensor, SafetensorsEntry entry, Runnable poll) {
        boolean transposed = tensor.transposed() && entry.rank() == 2;
        long from = tensor.held().first();
        return (rows, first) -> {
            poll.run();
            if (transposed) {
                TensorCopy.copyColumns(entry, from + first, rows);
            } else {
                TensorCopy.copyRows(entry, from + first, rows);
            }
        };
    }
}
