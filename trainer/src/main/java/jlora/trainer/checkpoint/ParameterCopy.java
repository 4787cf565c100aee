package jlora.trainer.checkpoint;

import jlora.runtime.backend.Backend;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.runtime.weight.Parameter;
import jlora.runtime.weight.ParameterSet;
import jlora.runtime.weight.Placement;

import java.util.List;

/**
 * Host memory for everything that is trained, f32: parameters, AdamW's two moments and its count of
 * updates. A checkpoint is written from a copy, while the originals are trained on, and restored
 * through one.
 */
public final class ParameterCopy implements AutoCloseable {
    /** One flat buffer on the device, and its copy. */
    private record Twin(Tensor original, Tensor copy) {
        static Twin of(Storage original) {
            return new Twin(
                    flat(original),
                    flat(new Storage(original.name(), original.role(), original.bytes())));
        }

        private static Tensor flat(Storage storage) {
            long elements = storage.bytes() / DType.F32.bytes();
            return new Tensor(storage.name(), storage, DType.F32, 1, elements, 0, elements);
        }
    }

    private final ParameterSet parameters;
    private final Twin master;
    private final Twin m;
    private final Twin v;
    private final Twin updates;
    private final MemoryArena arena;

    public ParameterCopy(ParameterSet parameters) {
        this.parameters = parameters;
        List<Storage> storages = parameters.storages();
        this.master = Twin.of(storages.get(0));
        this.m = Twin.of(storages.get(2));
        this.v = Twin.of(storages.get(3));
        this.updates = Twin.of(storages.get(4));
        this.arena = MemoryArena.host("checkpoint copy", bytes(parameters));
        long offset = 0;
        for (Twin twin : twins()) {
            arena.place(twin.copy.storage(), offset);
            offset += MemoryArena.align(twin.copy.storage().bytes());
        }
    }

    /** Host bytes of a copy. */
    public static long bytes(ParameterSet parameters) {
        return Placement.bytes(
                parameters.storages().stream()
                        .filter(s -> s.role() != Storage.Role.GRADIENT)
                        .toList());
    }

    private List<Twin> twins() {
        return List.of(master, m, v, updates);
    }

    /** Copies the state as it is after all work that was started so far. */
    public void take(Backend backend) {
        for (Twin twin : twins()) {
            backend.download(twin.copy.segment(), twin.original);
        }
    }

    /** Makes the copy the state of the run, and writes parameters to where products read them. */
    public void restore(Backend backend) {
        for (Twin twin : twins()) {
            backend.upload(twin.original, twin.copy.segment());
        }
        parameters.groups().forEach(group -> backend.kernels().publish().publish(group.copies()));
    }

    /** In the order of the flat buffers. */
    public List<Parameter> parameters() {
        return parameters.parameters();
    }

    /** The f32 value of a parameter, in its own shape and dense. */
    public Tensor value(Parameter parameter) {
        return view(parameter, master);
    }

    /** AdamW's mean of gradients. */
    public Tensor mean(Parameter parameter) {
        return view(parameter, m);
    }

    /** AdamW's mean of squared gradients. */
    public Tensor squares(Parameter parameter) {
        return view(parameter, v);
    }

    /** f32 [1,G]: the updates that each group of parameters has had. */
    public Tensor updates() {
        return updates.copy;
    }

    private Tensor view(Parameter parameter, Twin twin) {
        Tensor like = parameters.master(parameter);
        return new Tensor(
                parameter.name(),
                twin.copy.storage(),
                DType.F32,
                like.rows(),
                like.cols(),
                like.offset(),
                like.cols());
    }

    @Override
    public void close() {
        arena.close();
    }
}
