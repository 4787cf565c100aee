package jlora.cu.driver;

import jlora.cu.sys.CudaDriverApi;
import jlora.cu.sys.CudaDriverConstants;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** A kernel; lives as long as its module. */
public final class CudaFunction {
    /** What a block may use without asking. */
    private static final int PLAIN_SHARED_BYTES = 48 << 10;

    private final CudaDriver driver;
    private final String name;
    private final long handle;

    /** Bytes of each parameter; empty where the driver cannot tell. */
    private final Optional<List<Integer>> parameters;

    private int sharedBytes = PLAIN_SHARED_BYTES;

    CudaFunction(CudaDriver driver, String name, long handle) {
        this.driver = driver;
        this.name = name;
        this.handle = handle;
        this.parameters = parameters(driver, name, handle);
    }

    private static Optional<List<Integer>> parameters(CudaDriver driver, String name, long handle) {
        List<Integer> sizes = new ArrayList<>();
        long[] offset = new long[1];
        long[] bytes = new long[1];
        while (true) {
            int status = driver.api().cuFuncGetParamInfo(handle, sizes.size(), offset, bytes);
            if (status == CudaDriverConstants.INVALID_VALUE) {
                return Optional.of(List.copyOf(sizes));
            }
            if (status == CudaDriverConstants.NOT_FOUND) {
                return Optional.empty();
            }
            driver.check("cuFuncGetParamInfo", status, name);
            sizes.add(Math.toIntExact(bytes[0]));
        }
    }

    public String name() {
        return name;
    }

    long handle() {
        return handle;
    }

    public int registers() {
        return attribute(CudaDriverConstants.FUNC_NUM_REGS);
    }

    /** Bytes of registers that spill into memory, per thread. */
    public int localBytes() {
        return attribute(CudaDriverConstants.FUNC_LOCAL_SIZE_BYTES);
    }

    /** Bytes of static shared memory. */
    public int staticSharedBytes() {
        return attribute(CudaDriverConstants.FUNC_SHARED_SIZE_BYTES);
    }

    private int attribute(int attribute) {
        int[] value = new int[1];
        driver.check(
                "cuFuncGetAttribute",
                driver.api().cuFuncGetAttribute(value, attribute, handle),
                name);
        return value[0];
    }

    /** Blocks that one multiprocessor holds at a time. */
    public int blocksPerMultiprocessor(LaunchShape shape) {
        allow(shape.sharedBytes());
        int[] blocks = new int[1];
        driver.check(
                "cuOccupancyMaxActiveBlocksPerMultiprocessor",
                driver.api()
                        .cuOccupancyMaxActiveBlocksPerMultiprocessor(
                                blocks,
                                handle,
                                shape.blockX() * shape.blockY() * shape.blockZ(),
                                shape.sharedBytes()),
                name);
        return blocks[0];
    }

    /** More than 48 KiB of shared memory has to be asked for once per kernel. */
    private void allow(int bytes) {
        if (bytes > sharedBytes) {
            driver.check(
                    "cuFuncSetAttribute",
                    driver.api()
                            .cuFuncSetAttribute(
                                    handle,
                                    CudaDriverConstants.FUNC_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                                    bytes),
                    () -> name + " with " + bytes + " bytes of shared memory");
            sharedBytes = bytes;
        }
    }

    /** Arguments are untyped in CUDA: a launch with wrong ones would run and compute garbage. */
    private void requireMatch(KernelArgs args) {
        if (parameters.isEmpty()) {
            return;
        }
        List<Integer> expected = parameters.get();
        boolean match = expected.size() == args.count();
        for (int i = 0; match && i < args.count(); i++) {
            match = expected.get(i) == args.size(i);
        }
        if (!match) {
            List<Integer> given = new ArrayList<>();
            for (int i = 0; i < args.count(); i++) {
                given.add(args.size(i));
            }
            throw new IllegalArgumentException(
                    "kernel "
                            + name
                            + " takes arguments of "
                            + expected
                            + " bytes and was given "
                            + given);
        }
    }

    void launch(CudaStream stream, LaunchShape shape, KernelArgs args) {
        requireMatch(args);
        allow(shape.sharedBytes());
        CudaDriverApi api = driver.api();
        int status =
                api.cuLaunchKernel(
                        handle,
                        shape.gridX(),
                        shape.gridY(),
                        shape.gridZ(),
                        shape.blockX(),
                        shape.blockY(),
                        shape.blockZ(),
                        shape.sharedBytes(),
                        stream.handle(),
                        args.pointers());
        driver.check("cuLaunchKernel", status, () -> name + ", " + shape);
    }
}
