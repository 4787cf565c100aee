package jlora.runtime.backend.cuda;

import jlora.cu.driver.CudaContext;
import jlora.cu.driver.CudaEvent;
import jlora.cu.driver.CudaStream;
import jlora.runtime.Resources;

/** Time on the device between two points of a stream. Waits for it, so not during a capture. */
final class EventTimer implements AutoCloseable {
    private final CudaStream stream;
    private final Resources owned = new Resources();
    private final CudaEvent start;
    private final CudaEvent end;

    EventTimer(CudaContext context, CudaStream stream) {
        this.stream = stream;
        try {
            this.start = owned.own(context.event("start of a timing"));
            this.end = owned.own(context.event("end of a timing"));
        } catch (RuntimeException | Error e) {
            Resources.closeAfter(e, owned);
            throw e;
        }
    }

    /** Milliseconds of one call, on average over {@code calls} of them in a row. */
    double milliseconds(int calls, Runnable call) {
        stream.record(start);
        for (int i = 0; i < calls; i++) {
            call.run();
        }
        stream.record(end);
        end.synchronize();
        return end.millisecondsSince(start) / (double) calls;
    }

    @Override
    public void close() {
        owned.close();
    }
}
