package jlora.cu.sys;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;

import jlora.cu.CudaLibraries;
import jlora.cu.HeaderCheck;
import jlora.cu.MissingLibraryException;

import org.junit.jupiter.api.Test;

import java.io.IOException;

/** NCCL and its header, where they are installed; what is called here needs no GPU. */
class NcclLibraryTest {
    private static NcclSys open() {
        try {
            return new NcclSys(CudaLibraries.find().nccl().symbols());
        } catch (MissingLibraryException e) {
            return abort(e.getMessage());
        }
    }

    @Test
    void constantsAndStructs() throws IOException, InterruptedException {
        HeaderCheck.of("nccl.h")
                .constants(NcclConstants.class, "nccl")
                .constants(NcclConstants.class, "NCCL_")
                .layout("ncclUniqueId", NcclSys.UNIQUE_ID)
                .check();
    }

    @Test
    void everyFunctionIsThere() throws IOException, InterruptedException {
        int[] version = new int[1];
        assertEquals(NcclConstants.ncclSuccess, open().ncclGetVersion(version));
        HeaderCheck.of("nccl.h").constant("NCCL_VERSION_CODE", version[0]).check();
    }

    @Test
    void errorsHaveNames() {
        NcclSys nccl = open();
        String text = nccl.ncclGetErrorString(NcclConstants.ncclInvalidArgument);
        assertTrue(text.contains("invalid argument"), text);
    }

    /** Passed by value: the wrong layout would not come back as a refusal of the rank. */
    @Test
    void refusesARankThatIsNotThere() {
        NcclSys nccl = open();
        long[] communicator = new long[1];
        byte[] id = new byte[NcclConstants.NCCL_UNIQUE_ID_BYTES];
        int status = nccl.ncclCommInitRank(communicator, 2, id, 5);
        assertTrue(status != NcclConstants.ncclSuccess, "status " + status);
        assertEquals(0, communicator[0]);
    }
}
