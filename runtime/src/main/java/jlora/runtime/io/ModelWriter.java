package jlora.runtime.io;

import jlora.runtime.JloraException;
import jlora.runtime.backend.Backend;
import jlora.runtime.model.Model;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.CheckpointTensor;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * Writes a model as a Hugging Face folder, under the names and in the layout that its checkpoint
 * has.
 */
public final class ModelWriter {
    /** What travels from the base model's folder unchanged. */
    private static final List<String> COMPANIONS =
            List.of(
                    "config.json",
                    "generation_config.json",
                    "tokenizer.json",
                    "tokenizer_config.json",
                    "special_tokens_map.json",
                    "chat_template.jinja");

    private ModelWriter() {}

    /**
     * Writes config, tokenizer and {@code model.safetensors}, the latter in the type that the
     * weights are stored in.
     *
     * @param base the folder whose configuration and tokenizer the model has
     */
    public static void write(Path folder, Path base, Model model, Backend backend) {
        Path source = Files.isDirectory(base) ? base : base.toAbsolutePath().getParent();
        for (String name : COMPANIONS) {
            Path file = source.resolve(name);
            if (Files.exists(file)) {
                copy(file, folder.resolve(name));
            }
        }
        SafetensorsWriter writer = new SafetensorsWriter();
        for (CheckpointTensor tensor : model.weights().checkpoint()) {
            if (!tensor.exact() || model.weights().storage().inHostMemory()) {
                throw JloraException.usage(
                        "A model whose weights are shared among workers, quantised or in host"
                                + " memory cannot be written: "
                                + tensor.name()
                                + " is not whole on the device; leave shard_base, load_in_4bit,"
                                + " weight_dtype and offload out.");
            }
            Tensor t = tensor.target();
            boolean matrix = t.rows() > 1;
            boolean transposed = tensor.transposed() && matrix;
            long[] shape =
                    !matrix
                            ? new long[] {t.cols()}
                            : transposed
                                    ? new long[] {t.cols(), t.rows()}
                                    : new long[] {t.rows(), t.cols()};
            writer.tensor(
                    tensor.name(),
                    type(t.dtype()),
                    shape,
                    sink -> {
                        // A tensor at a time in dense form: fused and bordered weights are views
                        // with gaps.
                        try (Arena arena = Arena.ofConfined()) {
                            MemorySegment dense =
                                    arena.allocate(t.elements() * t.dtype().bytes(), 16);
                            backend.download(dense, t);
                            sink.write(transposed ? transpose(arena, dense, t) : dense);
                        }
                    });
        }
        writer.write(folder.resolve("model.safetensors"));
    }

    private static SafetensorsType type(DType dtype) {
        return dtype == DType.F32 ? SafetensorsType.F32 : SafetensorsType.BF16;
    }

    private static MemorySegment transpose(Arena arena, MemorySegment from, Tensor t) {
        MemorySegment to = arena.allocate(from.byteSize(), 16);
        for (long r = 0; r < t.rows(); r++) {
            for (long c = 0; c < t.cols(); c++) {
                if (t.dtype() == DType.F32) {
                    float value = from.getAtIndex(ValueLayout.JAVA_FLOAT, r * t.cols() + c);
                    to.setAtIndex(ValueLayout.JAVA_FLOAT, c * t.rows() + r, value);
                } else {
                    short bits = from.getAtIndex(ValueLayout.JAVA_SHORT, r * t.cols() + c);
                    to.setAtIndex(ValueLayout.JAVA_SHORT, c * t.rows() + r, bits);
                }
            }
        }
        return to;
    }

    private static void copy(Path from, Path to) {
        try {
            AtomicFile.write(to, Files.readAllBytes(from));
        } catch (IOException e) {
            throw new UncheckedIOException("cannot read " + from, e);
        }
    }
}
