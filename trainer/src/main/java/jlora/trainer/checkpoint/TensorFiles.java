package jlora.trainer.checkpoint;

import jlora.runtime.JloraException;
import jlora.runtime.io.PeftFolder;
import jlora.runtime.io.SafetensorsEntry;
import jlora.runtime.io.SafetensorsFile;
import jlora.runtime.io.SafetensorsType;
import jlora.runtime.io.SafetensorsWriter;
import jlora.runtime.io.TensorCopy;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Parameter;

import java.nio.file.Files;
import java.nio.file.Path;

/**
 * The tensors of a checkpoint, f32: AdamW's moments in {@code optimizer.safetensors}, under the
 * names that torch gives them behind the parameter's ({@code exp_avg}, {@code exp_avg_sq}, and
 * {@code step} for the updates of each adapter), and the values themselves: those of an adapter in
 * its PEFT file, those of whole weights in {@code parameters.safetensors}.
 */
final class TensorFiles {
    private static final String MOMENTS = "optimizer.safetensors";
    private static final String PARAMETERS = "parameters.safetensors";
    private static final String MEAN = ".exp_avg";
    private static final String SQUARES = ".exp_avg_sq";
    private static final String UPDATES = "step";

    private TensorFiles() {}

    /** Writes the moments, and the values where no PEFT file has them. */
    static void write(Path folder, ParameterCopy copy) {
        SafetensorsWriter moments = new SafetensorsWriter();
        SafetensorsWriter values = new SafetensorsWriter();
        for (Parameter p : copy.parameters()) {
            add(moments, p.name() + MEAN, copy.mean(p));
            add(moments, p.name() + SQUARES, copy.squares(p));
            add(values, p.name(), copy.value(p));
        }
        add(moments, UPDATES, copy.updates());
        moments.write(folder.resolve(MOMENTS));
        if (!Files.exists(folder.resolve(PeftFolder.WEIGHTS))) {
            values.write(folder.resolve(PARAMETERS));
        }
    }

    private static void add(SafetensorsWriter writer, String name, Tensor tensor) {
        writer.tensor(
                name,
                SafetensorsType.F32,
                new long[] {tensor.rows(), tensor.cols()},
                tensor.segment()
                        .asSlice(tensor.byteOffset(0), tensor.elements() * tensor.dtype().bytes()));
    }

    static void read(Path folder, ParameterCopy copy) {
        boolean adapter = Files.exists(folder.resolve(PeftFolder.WEIGHTS));
        Path weights = folder.resolve(adapter ? PeftFolder.WEIGHTS : PARAMETERS);
        try (SafetensorsFile moments = SafetensorsFile.open(folder.resolve(MOMENTS));
                SafetensorsFile values = SafetensorsFile.open(weights)) {
            requireTensors(moments, 2 * copy.parameters().size() + 1);
            read(moments, UPDATES, copy.updates());
            requireTensors(values, copy.parameters().size());
            for (Parameter p : copy.parameters()) {
                read(moments, p.name() + MEAN, copy.mean(p));
                read(moments, p.name() + SQUARES, copy.squares(p));
                read(values, adapter ? PeftFolder.tensorName(p.name()) : p.name(), copy.value(p));
            }
        }
    }

    private static void requireTensors(SafetensorsFile file, int expected) {
        if (file.entries().size() != expected) {
            throw JloraException.corrupt(
                    file.path()
                            + ": holds "
                            + file.entries().size()
                            + " tensors where this run has "
                            + expected
                            + "; use a checkpoint of this run");
        }
    }

    private static void read(SafetensorsFile file, String name, Tensor to) {
        SafetensorsEntry entry = file.entry(name);
        if (entry.rows() != to.rows()
                || entry.cols() != to.cols()
                || entry.type() != SafetensorsType.F32) {
            throw JloraException.corrupt(
                    file.path()
                            + ": the tensor "
                            + entry.describe()
                            + " should be F32 ["
                            + to.rows()
                            + ", "
                            + to.cols()
                            + "]; use a checkpoint of this run");
        }
        TensorCopy.copy(entry, to);
    }
}
