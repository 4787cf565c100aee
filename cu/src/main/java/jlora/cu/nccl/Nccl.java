package jlora.cu.nccl;

import jlora.cu.NativeLibrary;
import jlora.cu.driver.CudaException;
import jlora.cu.sys.NcclConstants;
import jlora.cu.sys.NcclSys;

/** An opened NCCL 2: the raw calls with their status codes turned into exceptions. */
public final class Nccl {
    private final NcclSys sys;
    private final int version;

    private Nccl(NcclSys sys) {
        this.sys = sys;
        int[] found = new int[1];
        check("ncclGetVersion", sys.ncclGetVersion(found), 0, "");
        this.version = found[0];
    }

    public static Nccl open(NativeLibrary library) {
        return new Nccl(new NcclSys(library.symbols()));
    }

    /** 10000 · major + 100 · minor + patch: 23007 is 2.30.7. */
    public int version() {
        return version;
    }

    /**
     * A name for a new communicator, made by one rank and carried to the others. Opens a socket on
     * the interface that NCCL_SOCKET_IFNAME names, or the first that is up.
     */
    public byte[] uniqueId() {
        byte[] id = new byte[NcclConstants.NCCL_UNIQUE_ID_BYTES];
        check("ncclGetUniqueId", sys.ncclGetUniqueId(id), 0, "");
        return id;
    }

    NcclSys sys() {
        return sys;
    }

    /**
     * @param communicator 0 for calls without one
     */
    void check(String call, int status, long communicator, String detail) {
        if (status != NcclConstants.ncclSuccess) {
            String said = sys.ncclGetLastError(communicator).strip();
            CudaException.Failure failure =
                    new CudaException.Failure(
                            call,
                            status,
                            sys.ncclGetErrorString(status),
                            said.isEmpty() || detail.isEmpty()
                                    ? detail + said
                                    : detail + ": " + said);
            throw status == NcclConstants.ncclUnhandledCudaError
                    ? new CudaException.ContextLost(failure)
                    : new CudaException.CallFailed(failure);
        }
    }
}
