package jlora.cu.driver;

import jlora.cu.sys.CudaDriverConstants;

/** A captured stretch of a stream's work, launched as a whole. */
public final class CudaGraph implements AutoCloseable {
    private final CudaDriver driver;
    private final String label;
    private final long nodes;
    private long executable;

    private CudaGraph(CudaDriver driver, String label, long executable, long nodes) {
        this.driver = driver;
        this.label = label;
        this.executable = executable;
        this.nodes = nodes;
    }

    /** Makes an executable of a captured graph and gives the captured one up. */
    static CudaGraph instantiate(CudaDriver driver, String label, long graph) {
        CudaGraph made = null;
        try {
            long[] count = new long[1];
            driver.check("cuGraphGetNodes", driver.api().cuGraphGetNodes(graph, count), label);
            long[] executable = new long[1];
            driver.check(
                    "cuGraphInstantiate",
                    driver.api().cuGraphInstantiate(executable, graph, 0),
                    label);
            made = new CudaGraph(driver, label, executable[0], count[0]);
        } finally {
            int status = driver.api().cuGraphDestroy(graph);
            if (made != null && status != CudaDriverConstants.SUCCESS) {
                made.close();
            }
            driver.check("cuGraphDestroy", status, label);
        }
        return made;
    }

    /** Kernels, copies and fills in it. */
    public long nodes() {
        return nodes;
    }

    public void launch(CudaStream stream) {
        if (executable == 0) {
            throw new IllegalStateException("graph '" + label + "' is closed");
        }
        driver.check(
                "cuGraphLaunch", driver.api().cuGraphLaunch(executable, stream.handle()), label);
    }

    @Override
    public void close() {
        if (executable != 0) {
            long destroyed = executable;
            executable = 0;
            driver.check("cuGraphExecDestroy", driver.api().cuGraphExecDestroy(destroyed), label);
        }
    }
}
