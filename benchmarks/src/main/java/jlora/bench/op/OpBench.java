package jlora.bench.op;

import jlora.runtime.backend.Backend;
import jlora.runtime.backend.cpu.CpuBackend;
import jlora.runtime.backend.cpu.CpuOptions;
import jlora.runtime.backend.cpu.ProductLibrary;

import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

import java.util.concurrent.TimeUnit;

/** Times one {@link OpPoint} on the CPU backend; {@link OpBenchMain} says which ones. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
public class OpBench {
    /** What to time: the id of a point. */
    @Param({"linear.0.forward"})
    public String point;

    /** Threads of the backend. */
    @Param({"1"})
    public int threads;

    /** Who computes matrix products: auto, onednn or vector. */
    @Param({"auto"})
    public String products;

    private Backend backend;
    private OpPoint.Ready ready;

    /** Opens the backend and places the tensors. */
    @Setup(Level.Trial)
    public void open() {
        backend = new CpuBackend(new CpuOptions(threads, ProductLibrary.of(products)));
        ready = OpPoint.open(point, backend);
    }

    /** One call of the kernel. */
    @Benchmark
    public void call() {
        ready.call().run();
    }

    /** Frees everything. */
    @TearDown(Level.Trial)
    public void close() {
        ready.close();
        backend.close();
    }
}
