package jlora.runtime.plan;

import jlora.runtime.tensor.Storage;

import java.util.List;
import java.util.Objects;

/**
 * A frozen value that memory holds in a smaller form (a share of its rows, or four bits an element)
 * or elsewhere, and that is whole only while it is used: in scratch of the plan's arena. Model code
 * names it where it reads the scratch ({@link Trace#expand}); the schedule decides when the scratch
 * is filled, once for each pass that reads it: it is never kept from the forward pass to the
 * backward pass.
 *
 * @param into the scratch, of role {@link Storage.Role#EXPANSION}
 * @param fetched bytes that one expansion brings from outside this device's memory
 * @param lead how long before its use it starts
 * @param start begins to fill the scratch; may go on beside the steps that follow
 * @param finish what has to be done, in this order, before the scratch is read
 */
public record Expansion(Storage into, long fetched, Lead lead, Step start, List<Step> finish) {
    /** What an expansion goes on beside. */
    public enum Lead {
        /**
         * The layer ahead: what has to come over a slow connection. All expansions of a layer start
         * together, in the order of the model.
         */
        LAYER,
        /** The use of the value ahead: what is close by, so that little scratch is alive. */
        VALUE
    }

    public Expansion {
        Objects.requireNonNull(lead);
        Objects.requireNonNull(start);
        finish = List.copyOf(finish);
        if (into.role() != Storage.Role.EXPANSION || finish.isEmpty()) {
            throw new IllegalArgumentException("no expansion: " + into);
        }
    }
}
