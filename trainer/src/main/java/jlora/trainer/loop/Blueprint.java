package jlora.trainer.loop;

import jlora.runtime.adapter.lora.LoraAdapter;
import jlora.runtime.adapter.lora.LoraSpec;
import jlora.runtime.model.Model;
import jlora.runtime.weight.Parameter;
import jlora.runtime.weight.ParameterSet;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A model with its adapters and what of it is trained, laid out and still without memory: enough to
 * plan a run to the byte.
 *
 * @param parameters empty when nothing is trained
 */
public record Blueprint(Model model, List<LoraAdapter> adapters, ParameterSet parameters) {
    public Blueprint {
        adapters = List.copyOf(adapters);
    }

    /** True when a batch may mix adapters. */
    public boolean mixed() {
        return adapters.size() > 1;
    }

    /** The base model alone, for inference. */
    public static Blueprint base(Model model) {
        return seal(model, Map.of(), false);
    }

    /** All weights are trained. */
    public static Blueprint full(Model model) {
        model.weights().seal();
        return new Blueprint(model, List.of(), new ParameterSet(model.weights().parameters()));
    }

    /**
     * The model with adapters, numbered in the order given.
     *
     * @param adapters the targeted modules of each adapter, by its name
     * @param trained whether the adapters are trained; the base model never is
     */
    public static Blueprint seal(
            Model model, Map<String, Map<String, LoraSpec>> adapters, boolean trained) {
        List<LoraAdapter> attached = new ArrayList<>();
        adapters.forEach(
                (name, specs) ->
                        attached.add(LoraAdapter.attach(model, name, attached.size(), specs)));
        model.weights().seal();
        List<Parameter> parameters = new ArrayList<>();
        if (trained) {
            attached.forEach(a -> parameters.addAll(a.parameters()));
        }
        ParameterSet set = new ParameterSet(parameters);
        model.weights().bordersFrom(set);
        return new Blueprint(model, attached, set);
    }
}
