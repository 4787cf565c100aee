package jlora.runtime.backend.cuda;

import jlora.cu.CudaLibraries;
import jlora.cu.MissingLibraryException;
import jlora.cu.driver.CudaException;
import jlora.cu.driver.CudaStream;
import jlora.cu.nccl.Nccl;
import jlora.cu.nccl.NcclCommunicator;
import jlora.cu.sys.MissingSymbolException;
import jlora.cu.sys.NcclConstants;
import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.backend.Collective;
import jlora.runtime.tensor.DType;
import jlora.runtime.tensor.MemoryArena;
import jlora.runtime.tensor.Storage;
import jlora.runtime.tensor.Tensor;

import java.time.Duration;

/**
 * Ranks that NCCL joins, one GPU each: operations are work in the backend's stream, and may be part
 * of a {@link CudaBackend#routine}, all of whose runs they are then part of. A lost rank shows
 * where results are waited for.
 */
public final class CudaCollective implements Collective {
    /** The bytes by which the ranks of a new group know each other. */
    public static final int ID_BYTES = NcclConstants.NCCL_UNIQUE_ID_BYTES;

    private final Nccl nccl;
    private final NcclCommunicator communicator;
    private final CudaBackend backend;
    private final CudaStream stream;
    private final Tensor barrier =
            Tensor.dense("barrier of the workers", Storage.Role.RESULT, DType.F32, 1, 1);
    private final MemoryArena arena;
    private boolean finished;
    private boolean closed;

    private CudaCollective(Nccl nccl, NcclCommunicator communicator, CudaBackend backend) {
        this.nccl = nccl;
        this.communicator = communicator;
        this.backend = backend;
        this.stream = backend.launches().stream();
        this.arena = backend.allocate(barrier.name(), barrier.storage().bytes());
        arena.place(barrier.storage(), 0);
    }

    /** NCCL where it is found; a missing or too old one is exit code 2. */
    public static Nccl library(CudaLibraries libraries) {
        try {
            return Nccl.open(libraries.nccl());
        } catch (MissingLibraryException e) {
            throw CudaFaults.missing(e);
        } catch (MissingSymbolException e) {
            throw new JloraException(ExitCode.USAGE, e.getMessage(), e);
        }
    }

    /**
     * Joins, on the backend's device; returns when all ranks have.
     *
     * @param id of {@link Nccl#uniqueId}, the same for all
     * @param timeout of each wait for results; zero waits for ever
     */
    public static CudaCollective join(
            CudaBackend backend, Nccl nccl, byte[] id, int ranks, int rank, Duration timeout) {
        try {
            CudaCollective joined =
                    new CudaCollective(nccl, NcclCommunicator.join(nccl, id, ranks, rank), backend);
            backend.watchWaits(joined::check, timeout);
            return joined;
        } catch (CudaException e) {
            throw CudaFaults.of(e);
        }
    }

    @Override
    public int rank() {
        return communicator.rank();
    }

    @Override
    public int ranks() {
        return communicator.ranks();
    }

    @Override
    public String describe() {
        int version = nccl.version();
        return "NCCL " + version / 10_000 + "." + version / 100 % 100 + "." + version % 100;
    }

    @Override
    public void sum(Tensor inPlace) {
        Collective.requireSum(inPlace);
        run(
                () ->
                        communicator.allReduceSum(
                                inPlace.address(),
                                inPlace.address(),
                                inPlace.elements(),
                                NcclCommunicator.Type.F32,
                                stream));
    }

    @Override
    public void gather(Tensor whole, Tensor part) {
        Collective.requireGather(whole, part, ranks());
        run(
                () ->
                        communicator.allGather(
                                part.address(),
                                whole.address(),
                                part.elements() * part.dtype().bytes(),
                                NcclCommunicator.Type.U8,
                                stream));
    }

    private static void run(Runnable call) {
        try {
            call.run();
        } catch (CudaException e) {
            throw lost(e);
        }
    }

    private void check() {
        try {
            communicator.checkHealth();
        } catch (CudaException e) {
            throw lost(e);
        }
    }

    private static JloraException lost(CudaException e) {
        return new JloraException(
                ExitCode.HANG,
                "the connection to the other workers failed ("
                        + e.failure()
                        + "): one of them is lost, or the network is; see its messages.",
                e);
    }

    @Override
    public void finish() {
        sum(barrier);
        backend.readLater(barrier).get();
        finished = true;
    }

    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        backend.watchWaits(() -> {}, Duration.ZERO);
        try (arena) {
            if (finished) {
                communicator.close();
            } else {
                communicator.abort();
            }
        }
    }
}
