package jlora.trainer.job;

import jlora.cu.CudaLibraries;
import jlora.cu.nccl.Nccl;
import jlora.runtime.backend.Collective;
import jlora.runtime.backend.cuda.CudaBackend;
import jlora.runtime.backend.cuda.CudaCollective;
import jlora.trainer.launch.Ranks;
import jlora.trainer.launch.Rendezvous;

import java.time.Duration;

/**
 * Joins workers with a GPU each: NCCL's id goes from rank 0 to the others by a {@link Rendezvous}.
 */
final class GpuWorkers {
    private GpuWorkers() {}

    static Collective join(CudaBackend backend, Ranks ranks, Duration timeout) {
        Nccl nccl = CudaCollective.library(CudaLibraries.find());
        Rendezvous rendezvous = new Rendezvous(ranks, timeout);
        byte[] id;
        if (ranks.first()) {
            id = nccl.uniqueId();
            rendezvous.give(id);
        } else {
            id = rendezvous.get(CudaCollective.ID_BYTES);
        }
        return CudaCollective.join(backend, nccl, id, ranks.worldSize(), ranks.rank(), timeout);
    }
}
