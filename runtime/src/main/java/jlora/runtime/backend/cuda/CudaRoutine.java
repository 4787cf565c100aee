package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaGraph;
import jlora.cu.driver.CudaStream;
import jlora.runtime.backend.Routine;

/**
 * Runs work once as it is, so that kernels are loaded and algorithms chosen; captures the second
 * run as a graph; launches that graph from then on.
 */
final class CudaRoutine implements Routine {
    private final String label;
    private final Runnable work;
    private final CudaStream stream;
    private boolean ranOnce;
    private CudaGraph graph;
    private boolean closed;

    CudaRoutine(String label, Runnable work, CudaStream stream) {
        this.label = label;
        this.work = work;
        this.stream = stream;
    }

    @Override
    public void run() {
        if (closed) {
            throw new IllegalStateException("routine '" + label + "' is closed");
        }
        if (!ranOnce || stream.capturing()) {
            work.run();
            ranOnce = true;
            return;
        }
        if (graph == null) {
            graph = capture();
        }
        graph.launch(stream);
    }

    private CudaGraph capture() {
        stream.beginCapture();
        try {
            work.run();
        } catch (RuntimeException | Error e) {
            try {
                stream.abortCapture();
            } catch (RuntimeException second) {
                e.addSuppressed(second);
            }
            throw e;
        }
        return stream.endCapture(label);
    }

    @Override
    public long nodes() {
        return graph == null ? 0 : graph.nodes();
    }

    @Override
    public void close() {
        closed = true;
        if (graph != null) {
            graph.close();
            graph = null;
        }
    }
}
