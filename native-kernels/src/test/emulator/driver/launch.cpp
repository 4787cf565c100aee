// The OS threads that run blocks. A thread takes the next block when it has done one, so which thread runs
// which block varies; results must not depend on that, as on a GPU.

#include <atomic>
#include <condition_variable>

#include "driver.h"
#include "signals.h"

namespace emulator {

namespace {

class WorkerPool {
public:
    WorkerPool() {
        for (int i = 0; i < workers; i++) {
            std::thread(&WorkerPool::serve, this, i).detach();
        }
    }

    bool run(const CUfunc_st& function, const Launch& launch, std::string* why) {
        std::unique_lock<std::mutex> guard(lock);
        this->function = &function;
        this->launch = launch;
        blocks = 1LL * launch.grid.x * launch.grid.y * launch.grid.z;
        next_block = 0;
        failed = false;
        // One block needs one thread; waking the other costs more than it brings.
        wanted = blocks == 1 ? 1 : workers;
        busy = wanted;
        round++;
        work.notify_all();
        done.wait(guard, [this] { return busy == 0; });
        *why = fault;
        return !failed;
    }

private:
    void serve(int index) {
        prepare_thread_for_signals();
        Worker worker;
        long seen = 0;
        std::unique_lock<std::mutex> guard(lock);
        for (;;) {
            work.wait(guard, [&] { return round != seen; });
            seen = round;
            if (index >= wanted) {
                continue;
            }
            guard.unlock();
            std::string why;
            const bool ok = run_blocks(worker, index, &why);
            guard.lock();
            if (!ok && !failed) {
                failed = true;
                fault = why;
            }
            if (--busy == 0) {
                done.notify_one();
            }
        }
    }

    bool run_blocks(Worker& worker, int index, std::string* why) {
        Launch own = launch;
        own.kernel = function->kernels[static_cast<std::size_t>(index)];
        const KernelLibrary& library = *function->libraries[static_cast<std::size_t>(index)];
        const dim3 grid = own.grid;
        const RunningBlock running(worker, library);
        for (long long i; (i = next_block.fetch_add(1)) < blocks;) {
            const long long at = own.reversed ? blocks - 1 - i : i;
            const uint3 block{static_cast<unsigned>(at % grid.x), static_cast<unsigned>(at / grid.x % grid.y),
                    static_cast<unsigned>(at / grid.x / grid.y)};
            if (!library.run_block(worker, own, block)) {
                next_block = blocks;
                *why = worker.fault;
                return false;
            }
        }
        return true;
    }

    std::mutex lock;
    std::condition_variable work;
    std::condition_variable done;
    long round = 0;
    int wanted = 0;
    int busy = 0;
    const CUfunc_st* function = nullptr;
    Launch launch{};
    long long blocks = 0;
    std::atomic<long long> next_block{0};
    bool failed = false;
    std::string fault;
};

}  // namespace

bool run_kernel(const CUfunc_st& function, Launch launch, std::string* why) {
    static WorkerPool* const pool = new WorkerPool();
    return pool->run(function, launch, why);
}

}  // namespace emulator
