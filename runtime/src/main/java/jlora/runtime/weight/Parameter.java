package jlora.runtime.weight;

import jlora.runtime.tensor.Tensor;

import java.util.Objects;

/**
 * Something that is trained.
 *
 * @param name as a checkpoint or an adapter file names it
 * @param value where products read it: a weight, or part of a border
 * @param scale what the trained f32 value is multiplied by on its way there: s for B, 1 for all
 *     else
 * @param decayed whether weight decay applies
 * @param adapter the adapter it belongs to; parameters of different adapters are clipped and
 *     updated apart
 */
public record Parameter(String name, Tensor value, float scale, boolean decayed, int adapter) {
    public Parameter {
        Objects.requireNonNull(name);
        Objects.requireNonNull(value);
    }
}
