package jlora.trainer.job;

import jlora.runtime.JloraException;
import jlora.runtime.Resources;
import jlora.runtime.adapter.lora.LoraMerge;
import jlora.runtime.backend.Backend;
import jlora.runtime.model.Decoder;
import jlora.runtime.model.Model;
import jlora.runtime.model.Sampler;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;
import jlora.trainer.config.RunConfig;
import jlora.trainer.data.StreamDecoder;
import jlora.trainer.data.Tokenizer;
import jlora.trainer.loop.Session;

import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Consumer;

/** Continues text with a loaded model. */
public final class TextGeneration implements AutoCloseable {
    private final Backend backend;
    private final Model model;
    private final Tokenizer tokenizer;
    private final List<String> notes;
    private final AutoCloseable owner;

    private TextGeneration(
            Backend backend,
            Model model,
            Tokenizer tokenizer,
            List<String> notes,
            AutoCloseable owner) {
        this.backend = backend;
        this.model = model;
        this.tokenizer = tokenizer;
        this.notes = notes;
        this.owner = owner;
    }

    /** What the user should know before the text. */
    public List<String> notes() {
        return notes;
    }

    /**
     * Loads the model that a configuration names.
     *
     * @param merged add the adapter to the weights, instead of beside them
     */
    public static TextGeneration open(RunConfig config, Backend backend, boolean merged) {
        if (merged && config.model().adapterNameOrPath().isEmpty()) {
            throw JloraException.usage(
                    "--merged needs an adapter to merge; give adapter_name_or_path.");
        }
        Tokenizer tokenizer = Tokenizer.open(config.model().modelNameOrPath().orElseThrow());
        try {
            RunModel run =
                    RunModel.forInference(
                            config, RunModel.dtype(config, Backends.device(config, backend).gpu()));
            Tensor loss = Tensor.dense("loss", Storage.Role.RESULT, DType.F32, 1, 1);
            Session session = run.open(backend, loss);
            try {
                if (merged) {
                    // Never taken off again here, so the record of how to is let go at once.
                    run.blueprint()
                            .adapters()
                            .forEach(a -> LoraMerge.merge(backend, run.model(), a).close());
                }
            } catch (RuntimeException | Error e) {
                Resources.closeAfter(e, session);
                throw e;
            }
            return new TextGeneration(backend, run.model(), tokenizer, run.notes(), session);
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, tokenizer);
            throw e;
        }
    }

    /** With a model that is loaded already and stays its owner's. */
    public static TextGeneration of(Backend backend, Model model, Tokenizer tokenizer) {
        return new TextGeneration(backend, model, tokenizer, List.of(), () -> {});
    }

    /**
     * Continues a prompt until the model ends its text, or {@code maxNewTokens} or the model's
     * positions are used up.
     *
     * @param piece hears the continuation as it comes
     * @return the whole continuation
     */
    public String run(String prompt, int maxNewTokens, Sampler sampler, Consumer<String> piece) {
        int[] ids = tokenizer.encodeBeginning(prompt);
        int positions = model.config().maxPositions();
        if (ids.length == 0 || ids.length >= positions) {
            throw JloraException.usage(
                    "The prompt has "
                            + ids.length
                            + " tokens, but must have at least 1 and leave room below the model's "
                            + positions
                            + " positions; change it.");
        }
        Set<Integer> stops = new HashSet<>(tokenizer.stopIds());
        StreamDecoder text = new StreamDecoder(tokenizer, true);
        text.context(ids);
        StringBuilder all = new StringBuilder();
        int capacity = Math.min(positions, ids.length + maxNewTokens);
        try (Decoder decoder = new Decoder(backend, model, capacity, 0)) {
            float[] logits = decoder.append(Arrays.copyOf(ids, ids.length));
            for (int made = 0; made < maxNewTokens; made++) {
                int next = sampler.choose(logits);
                if (stops.contains(next)) {
                    break;
                }
                emit(text.add(next), all, piece);
                if (made + 1 == maxNewTokens || decoder.length() == capacity) {
                    break;
                }
                logits = decoder.append(next);
            }
        }
        emit(text.finish(), all, piece);
        return all.toString();
    }

    private static void emit(String text, StringBuilder all, Consumer<String> piece) {
        if (!text.isEmpty()) {
            all.append(text);
            piece.accept(text);
        }
    }

    @Override
    public void close() {
        tokenizer.close();
        try {
            owner.close();
        } catch (RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }
}
