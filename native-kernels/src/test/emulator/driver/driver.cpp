#include "driver.h"

#include <cstdlib>
#include <cstring>

namespace emulator {

Driver& Driver::instance() {
    // Never destroyed: calls may come while the process ends.
    static Driver* const driver = new Driver();
    return *driver;
}

CUcontext& current_context() {
    static thread_local CUcontext context = nullptr;
    return context;
}

/** Calls that give something back. They do so even when they fail, as the driver's do after a fault. */
static bool releases(const char* name) {
    for (const char* word : {"Free", "Destroy", "Unload", "Release"}) {
        if (std::strstr(name, word) != nullptr) {
            return true;
        }
    }
    return false;
}

CUresult Driver::call(const char* name, Needs needs, const std::function<CUresult()>& body) {
    const std::lock_guard<std::recursive_mutex> guard(lock);
    CUresult failure = Controls::instance().enter(name);
    if (needs != Needs::NOTHING && !initialized) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    if (needs == Needs::CONTEXT) {
        if (current_context() == nullptr || context.retained == 0) {
            return CUDA_ERROR_INVALID_CONTEXT;
        }
        if (failure == CUDA_SUCCESS) {
            failure = lost;
        }
    }
    // A capture that cannot be ended well has ended all the same, without a graph.
    const bool ends_capture = std::strcmp(name, "cuStreamEndCapture") == 0;
    if (failure != CUDA_SUCCESS && ends_capture) {
        for (Capture* capture : captures) {
            capture->invalidated = true;
        }
    }
    if (failure != CUDA_SUCCESS && !releases(name) && !ends_capture) {
        return failure;
    }
    const CUresult result = body();
    return failure != CUDA_SUCCESS ? failure : result;
}

CUresult Driver::lose(CUresult code, const std::string& why) {
    lost = code;
    fault = why;
    for (CUstream stream : streams) {
        stream->queue.clear();
    }
    return code;
}

CUresult Driver::submit(CUstream stream, const char* name, std::function<CUresult()> run) {
    if (!knows(stream)) {
        return CUDA_ERROR_INVALID_HANDLE;
    }
    if (stream == nullptr) {
        // The legacy stream waits for all streams that do not say otherwise, which a capture cannot.
        for (CUstream other : streams) {
            if ((other->flags & CU_STREAM_NON_BLOCKING) == 0) {
                if (other->capture) {
                    other->capture->invalidated = true;
                    return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
                }
                finish(other);
            }
        }
        return lost == CUDA_SUCCESS ? run() : lost;
    }
    if (stream->capture) {
        if (stream->capture->invalidated) {
            return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        }
        stream->capture->operations.push_back({name, std::move(run)});
        stream->unjoined = stream != stream->capture->origin;
        return CUDA_SUCCESS;
    }
    stream->queue.push_back({name, std::move(run)});
    static const bool immediate = environment("JLORA_EMULATOR_IMMEDIATE", 0) != 0;
    return immediate ? finish(stream) : CUDA_SUCCESS;
}

CUresult Driver::finish(CUstream stream, const Recording* until) {
    if (stream != nullptr) {
        while (lost == CUDA_SUCCESS && !stream->queue.empty() && (until == nullptr || !until->done)) {
            const Operation next = std::move(stream->queue.front());
            stream->queue.pop_front();
            next.run();
        }
    }
    return lost;
}

CUresult Driver::finish_all() {
    for (CUstream stream : streams) {
        finish(stream);
    }
    return lost;
}

CUresult Driver::refuse_during_capture() {
    bool refused = false;
    for (Capture* capture : captures) {
        const bool minds = capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL
                || (capture->mode == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
                        && capture->thread == std::this_thread::get_id());
        if (minds) {
            capture->invalidated = true;
            refused = true;
        }
    }
    return refused ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS;
}

CUresult Driver::refuse_if_capturing(CUstream stream) {
    if (stream != nullptr && stream->capture) {
        const bool was_invalid = stream->capture->invalidated;
        stream->capture->invalidated = true;
        return was_invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
    return refuse_during_capture();
}

long long environment(const char* name, long long otherwise) {
    const char* const value = std::getenv(name);
    return value == nullptr || *value == 0 ? otherwise : std::strtoll(value, nullptr, 10);
}

}  // namespace emulator
