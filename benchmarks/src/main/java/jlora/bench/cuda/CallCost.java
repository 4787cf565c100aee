package jlora.bench.cuda;

import jlora.bench.Program;
import jlora.cu.CudaLibraries;
import jlora.cu.MissingLibraryException;
import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaDriver;
import jlora.cu.driver.CudaEvent;
import jlora.cu.driver.CudaException;
import jlora.cu.driver.CudaFunction;
import jlora.cu.driver.CudaModule;
import jlora.cu.driver.CudaStream;
import jlora.cu.driver.LaunchShape;
import jlora.cu.jcuda.JcudaDriver;
import jlora.cu.sys.CudaDriverApi;
import jlora.cu.sys.PanamaCudaDriver;
import jlora.runtime.ExitCode;
import jlora.runtime.JloraException;
import jlora.runtime.Resources;
import jlora.runtime.backend.cuda.KernelImages;

import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/**
 * What a call of the driver costs through each of its two providers, as jlora makes it: a question
 * that the driver answers at once, and a launch whose six arguments are written anew. The two take
 * turns in one process, so each call is through an interface with two implementations. Prints
 * Markdown.
 */
@Command(
        name = "call-cost",
        description = "Prints what a driver call costs through Panama and through JCuda.")
public final class CallCost implements Runnable {
    private static final int WARM_UP = 200;
    private static final int ROUNDS = 501;

    /** Calls per round: a stream takes 1,024 launches before a launch has to wait. */
    private static final int CALLS = 200;

    private static final String IMAGE = "/jlora/kernels/gelu.fatbin";

    /** Takes out, its stride, x, its stride, rows and columns; without rows it does nothing. */
    private static final String KERNEL = "gelu_tanh_forward_f32";

    @Mixin private Program.Help help;

    /** Runs the command line to its exit code. */
    public static void main(String[] arguments) {
        System.exit(Program.run(new CallCost(), arguments));
    }

    @Override
    public void run() {
        try (Resources owned = new Resources()) {
            CudaLibraries libraries = CudaLibraries.find();
            List<Provider> providers = new ArrayList<>();
            providers.add(
                    owned.own(new Provider(new PanamaCudaDriver(libraries.driver().symbols()))));
            providers.add(owned.own(new Provider(JcudaDriver.open(libraries.driver()))));
            for (int round = -WARM_UP; round < ROUNDS; round++) {
                for (Provider provider : providers) {
                    provider.round(round);
                }
            }
            print(providers);
        } catch (MissingLibraryException e) {
            throw new JloraException(ExitCode.USAGE, e.getMessage(), e);
        } catch (CudaException e) {
            throw new JloraException(
                    ExitCode.GPU_FAULT, "the GPU refused a call: " + e.getMessage(), e);
        }
    }

    private static void print(List<Provider> providers) {
        String device = providers.getFirst().context.device().name();
        System.out.printf("Device: %s. Median of %d rounds of %d calls.%n", device, ROUNDS, CALLS);
        if (device.contains("emulator")) {
            System.out.println(
                    "The launch is emulated: its driver's own part says nothing of a GPU's.");
        }
        System.out.println();
        System.out.println("| provider | cuEventQuery, ns | cuLaunchKernel with 6 arguments, ns |");
        System.out.println("|---|---|---|");
        for (Provider provider : providers) {
            System.out.printf(
                    Locale.ROOT,
                    "| %s | %.0f | %.0f |%n",
                    provider.name,
                    median(provider.queries),
                    median(provider.launches));
        }
    }

    private static double median(double[] nanoseconds) {
        double[] sorted = nanoseconds.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }

    /** One way to the driver, with a context, a stream and a kernel. */
    private static final class Provider implements AutoCloseable {
        final String name;
        final double[] queries = new double[ROUNDS];
        final double[] launches = new double[ROUNDS];
        final CudaContext context;
        private final Resources owned = new Resources();
        private final CudaStream stream;
        private final CudaEvent event;
        private final CudaFunction kernel;
        private final LaunchShape shape = LaunchShape.of(1, 32);

        Provider(CudaDriverApi api) {
            name = api.provider();
            try {
                context = owned.own(CudaContext.open(CudaDriver.init(api), 0));
                stream = owned.own(context.stream("calls"));
                event = owned.own(context.event("passed"));
                kernel = owned.own(load(context)).function(KERNEL);
                stream.record(event);
                stream.synchronize();
            } catch (RuntimeException | Error e) {
                Resources.closeAfter(e, owned);
                throw e;
            }
        }

        private static CudaModule load(CudaContext context) {
            try (InputStream in = CallCost.class.getResourceAsStream(IMAGE);
                    Arena arena = Arena.ofConfined()) {
                if (in == null) {
                    throw JloraException.usage(
                            "this jlora was built without kernels ("
                                    + KernelImages.ofThisBuild().built()
                                    + "); build it where nvcc of CUDA 12 or 13 is");
                }
                byte[] image = in.readAllBytes();
                MemorySegment copy = arena.allocate(image.length, 16);
                copy.copyFrom(MemorySegment.ofArray(image));
                return context.load("gelu", copy);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        /** Negative rounds only warm up. */
        void round(int round) {
            double query = nanoseconds(this::query);
            double launch = nanoseconds(this::launch);
            stream.synchronize();
            if (round >= 0) {
                queries[round] = query;
                launches[round] = launch;
            }
        }

        private static double nanoseconds(Runnable call) {
            long start = System.nanoTime();
            for (int i = 0; i < CALLS; i++) {
                call.run();
            }
            return (System.nanoTime() - start) / (double) CALLS;
        }

        private void query() {
            if (!event.passed()) {
                throw new IllegalStateException("the event was waited for");
            }
        }

        private void launch() {
            stream.launch(
                    kernel, shape, stream.args().pointer(0).i64(0).pointer(0).i64(0).i64(0).i64(0));
        }

        @Override
        public void close() {
            owned.close();
        }
    }
}
