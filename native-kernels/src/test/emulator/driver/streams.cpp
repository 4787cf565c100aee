// Streams, events, and graphs captured from streams.

#include "driver.h"

using emulator::Driver;
using emulator::Needs;

namespace {

CUresult run_all(const std::vector<Operation>& operations) {
    for (const Operation& operation : operations) {
        const CUresult result = operation.run();
        if (result != CUDA_SUCCESS) {
            return result;
        }
    }
    return CUDA_SUCCESS;
}

void leave_capture(Driver& driver, const std::shared_ptr<Capture>& capture) {
    for (CUstream stream : driver.streams) {
        if (stream->capture == capture) {
            stream->capture.reset();
            stream->unjoined = false;
        }
    }
    driver.captures.erase(capture.get());
}

}  // namespace

extern "C" {

CUresult cuStreamCreate(CUstream* stream, unsigned flags) {
    Driver& driver = Driver::instance();
    return driver.call("cuStreamCreate", Needs::CONTEXT, [&] {
        if ((flags & ~CU_STREAM_NON_BLOCKING) != 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        *stream = new CUstream_st();
        (*stream)->flags = flags;
        driver.streams.insert(*stream);
        return CUDA_SUCCESS;
    });
}

CUresult cuStreamDestroy_v2(CUstream stream) {
    Driver& driver = Driver::instance();
    return driver.call("cuStreamDestroy", Needs::CONTEXT, [&] {
        if (stream == nullptr || !driver.knows(stream)) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        if (stream->capture) {
            const std::shared_ptr<Capture> capture = stream->capture;
            capture->invalidated = true;
            if (capture->origin == stream) {
                leave_capture(driver, capture);
            }
        }
        driver.finish(stream);
        driver.streams.erase(stream);
        delete stream;
        return CUDA_SUCCESS;
    });
}

CUresult cuStreamSynchronize(CUstream stream) {
    Driver& driver = Driver::instance();
    return driver.call("cuStreamSynchronize", Needs::CONTEXT, [&] {
        if (!driver.knows(stream)) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        const CUresult refused = driver.refuse_if_capturing(stream);
        return refused == CUDA_SUCCESS ? driver.finish(stream) : refused;
    });
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
    Driver& driver = Driver::instance();
    return driver.call("cuStreamWaitEvent", Needs::CONTEXT, [&] {
        if (!driver.knows(stream) || driver.events.count(event) == 0) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        if (!event->capture) {
            if (!event->recording) {
                return CUDA_SUCCESS;
            }
            if (stream != nullptr && stream->capture) {
                // Work from outside cannot become part of a graph.
                stream->capture->invalidated = true;
                return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
            }
            return driver.submit(stream, "cuStreamWaitEvent", [&driver, recording = event->recording] {
                return driver.finish(recording->done ? nullptr : recording->stream, recording.get());
            });
        }
        if (driver.captures.count(event->capture.get()) == 0) {
            return CUDA_ERROR_CAPTURED_EVENT;
        }
        if (stream == nullptr || (stream->capture && stream->capture != event->capture)) {
            event->capture->invalidated = true;
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
        stream->capture = event->capture;
        if (event->captured_in != stream) {
            event->captured_in->unjoined = false;
            stream->unjoined = stream != event->capture->origin;
        }
        return CUDA_SUCCESS;
    });
}

CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
    Driver& driver = Driver::instance();
    return driver.call("cuStreamBeginCapture", Needs::CONTEXT, [&] {
        if (stream == nullptr) {
            return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
        }
        if (!driver.knows(stream)) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        if (stream->capture || mode < CU_STREAM_CAPTURE_MODE_GLOBAL || mode > CU_STREAM_CAPTURE_MODE_RELAXED) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        stream->capture = std::make_shared<Capture>();
        stream->capture->origin = stream;
        stream->capture->mode = mode;
        stream->capture->thread = std::this_thread::get_id();
        driver.captures.insert(stream->capture.get());
        return CUDA_SUCCESS;
    });
}

CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
    Driver& driver = Driver::instance();
    return driver.call("cuStreamEndCapture", Needs::CONTEXT, [&] {
        *graph = nullptr;
        if (stream == nullptr || !driver.knows(stream) || !stream->capture) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        const std::shared_ptr<Capture> capture = stream->capture;
        if (capture->origin != stream) {
            capture->invalidated = true;
            return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
        }
        if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED && capture->thread != std::this_thread::get_id()) {
            return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
        }
        bool unjoined = false;
        for (CUstream other : driver.streams) {
            unjoined |= other->capture == capture && other->unjoined;
        }
        leave_capture(driver, capture);
        if (capture->invalidated) {
            return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        }
        if (unjoined) {
            return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
        }
        *graph = new CUgraph_st{std::move(capture->operations)};
        driver.graphs.insert(*graph);
        return CUDA_SUCCESS;
    });
}

CUresult cuStreamIsCapturing(CUstream stream, int* status) {
    Driver& driver = Driver::instance();
    return driver.call("cuStreamIsCapturing", Needs::CONTEXT, [&] {
        if (!driver.knows(stream)) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        *status = stream == nullptr || !stream->capture ? 0 : stream->capture->invalidated ? 2 : 1;
        return CUDA_SUCCESS;
    });
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph, unsigned long long) {
    Driver& driver = Driver::instance();
    return driver.call("cuGraphInstantiate", Needs::CONTEXT, [&] {
        if (driver.graphs.count(graph) == 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        *executable = new CUgraphExec_st{graph->operations};
        driver.executables.insert(*executable);
        return CUDA_SUCCESS;
    });
}

CUresult cuGraphLaunch(CUgraphExec executable, CUstream stream) {
    Driver& driver = Driver::instance();
    return driver.call("cuGraphLaunch", Needs::CONTEXT, [&] {
        if (driver.executables.count(executable) == 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        // A copy, so that the executable may be destroyed before its turn comes.
        return driver.submit(
                stream, "cuGraphLaunch", [operations = executable->operations] { return run_all(operations); });
    });
}

CUresult cuGraphGetNodes(CUgraph graph, void**, std::size_t* count) {
    Driver& driver = Driver::instance();
    return driver.call("cuGraphGetNodes", Needs::CONTEXT, [&] {
        if (driver.graphs.count(graph) == 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        *count = graph->operations.size();
        return CUDA_SUCCESS;
    });
}

CUresult cuGraphExecDestroy(CUgraphExec executable) {
    Driver& driver = Driver::instance();
    return driver.call("cuGraphExecDestroy", Needs::CONTEXT, [&] {
        if (driver.executables.erase(executable) == 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        delete executable;
        return CUDA_SUCCESS;
    });
}

CUresult cuGraphDestroy(CUgraph graph) {
    Driver& driver = Driver::instance();
    return driver.call("cuGraphDestroy", Needs::CONTEXT, [&] {
        if (driver.graphs.erase(graph) == 0) {
            return CUDA_ERROR_INVALID_VALUE;
        }
        delete graph;
        return CUDA_SUCCESS;
    });
}

CUresult cuEventCreate(CUevent* event, unsigned flags) {
    Driver& driver = Driver::instance();
    return driver.call("cuEventCreate", Needs::CONTEXT, [&] {
        *event = new CUevent_st();
        (*event)->flags = flags;
        driver.events.insert(*event);
        return CUDA_SUCCESS;
    });
}

CUresult cuEventDestroy_v2(CUevent event) {
    Driver& driver = Driver::instance();
    return driver.call("cuEventDestroy", Needs::CONTEXT, [&] {
        if (driver.events.erase(event) == 0) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        delete event;
        return CUDA_SUCCESS;
    });
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
    Driver& driver = Driver::instance();
    return driver.call("cuEventRecord", Needs::CONTEXT, [&] {
        if (!driver.knows(stream) || driver.events.count(event) == 0) {
            return CUDA_ERROR_INVALID_HANDLE;
        }
        if (stream != nullptr && stream->capture) {
            if (stream->capture->invalidated) {
                return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
            }
            event->capture = stream->capture;
            event->captured_in = stream;
            return CUDA_SUCCESS;
        }
        event->capture.reset();
        event->recording = std::make_shared<Recording>();
        event->recording->stream = stream;
        return driver.submit(stream, "cuEventRecord", [recording = event->recording] {
            recording->done = true;
            recording->time = std::chrono::steady_clock::now();
            return CUDA_SUCCESS;
        });
    });
}

static CUresult check_host_may_ask(Driver& driver, CUevent event) {
    if (driver.events.count(event) == 0) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (event->capture) {
        event->capture->invalidated = true;
        return CUDA_ERROR_CAPTURED_EVENT;
    }
    return CUDA_SUCCESS;
}

CUresult cuEventQuery(CUevent event) {
    Driver& driver = Driver::instance();
    return driver.call("cuEventQuery", Needs::CONTEXT, [&] {
        const CUresult refused = check_host_may_ask(driver, event);
        if (refused != CUDA_SUCCESS || !event->recording || event->recording->done) {
            return refused;
        }
        // Not done at the first question, done at the next: both happen on a GPU.
        if (!event->recording->asked) {
            event->recording->asked = true;
            return CUDA_ERROR_NOT_READY;
        }
        return driver.finish(event->recording->stream, event->recording.get());
    });
}

CUresult cuEventSynchronize(CUevent event) {
    Driver& driver = Driver::instance();
    return driver.call("cuEventSynchronize", Needs::CONTEXT, [&] {
        const CUresult refused = check_host_may_ask(driver, event);
        if (refused != CUDA_SUCCESS || !event->recording || event->recording->done) {
            return refused;
        }
        return driver.finish(event->recording->stream, event->recording.get());
    });
}

CUresult cuEventElapsedTime(float* milliseconds, CUevent start, CUevent end) {
    Driver& driver = Driver::instance();
    return driver.call("cuEventElapsedTime", Needs::CONTEXT, [&] {
        for (CUevent event : {start, end}) {
            const CUresult result = check_host_may_ask(driver, event);
            if (result != CUDA_SUCCESS) {
                return result;
            }
            if (!event->recording || (event->flags & CU_EVENT_DISABLE_TIMING) != 0) {
                return CUDA_ERROR_INVALID_HANDLE;
            }
            if (!event->recording->done) {
                return CUDA_ERROR_NOT_READY;
            }
        }
        *milliseconds = std::chrono::duration<float, std::milli>(end->recording->time - start->recording->time).count();
        return CUDA_SUCCESS;
    });
}

CUresult cuEventElapsedTime_v2(float* milliseconds, CUevent start, CUevent end) {
    return cuEventElapsedTime(milliseconds, start, end);
}

}  // extern "C"
