package jlora.trainer.launch;

import jlora.runtime.JloraException;

/**
 * Workers over machines, the same number on each.
 *
 * @param workers of the whole job; each is one process, on GPUs with one GPU
 * @param perNode on one machine
 */
public record Layout(int workers, int perNode) {
    public Layout {
        if (workers < 1) {
            throw JloraException.usage("--workers is " + workers + "; a job has at least 1.");
        }
        if (perNode < 1 || workers % perNode != 0) {
            throw JloraException.usage(
                    "--workers "
                            + workers
                            + " cannot be spread evenly with "
                            + perNode
                            + " on each machine; give a --workers-per-node that divides it.");
        }
    }

    public int nodes() {
        return workers / perNode;
    }
}
