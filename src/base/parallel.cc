#include "base/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/extents.h"

namespace fathom {

namespace {

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Polls of the ticket before a worker sleeps: long enough to bridge the gap between two kernels of a decode
// step.
constexpr int kSpins = 4000;

}  // namespace

void SharedRange::reset(int64_t count, int64_t grain, int workers) {
  count_ = count;
  grain_ = grain;
  workers_ = workers;
  next_.store(0, std::memory_order_relaxed);
}

bool SharedRange::take(int64_t& begin, int64_t& end) {
  begin = next_.load(std::memory_order_relaxed);
  do {
    if (begin >= count_) return false;
    end = std::min(count_, begin + round_up(ceil_div(count_ - begin, 2 * workers_), grain_));
  } while (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed));
  return true;
}

struct ThreadPool::Impl {
  using Body = FunctionRef<void(int64_t, int64_t, int)>;

  explicit Impl(int threads) : num_threads(threads) {
    try {
      for (int worker = 1; worker < threads; ++worker)
        workers.emplace_back([this, worker] { serve(worker); });
    } catch (const std::exception& error) {
      // No destructor follows, and the threads that run wait on members that are about to go.
      const std::string reason = error.what();
      stop();
      throw std::runtime_error("cannot start " + std::to_string(threads) + " threads, only " +
                               std::to_string(workers.size() + 1) + ": " + reason);
    }
  }

  ~Impl() { stop(); }

  void stop() {
    {
      std::lock_guard lock(mutex);
      stopping.store(true);
      ticket.fetch_add(1);
    }
    wake.notify_all();
    for (auto& worker : workers) worker.join();
  }

  void serve(int worker) {
    uint64_t seen = 0;
    for (;;) {
      for (int spin = 0; spin < kSpins && ticket.load(std::memory_order_acquire) == seen; ++spin)
        pause_briefly();
      if (ticket.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return ticket.load() != seen; });
      }
      seen = ticket.load(std::memory_order_acquire);
      if (stopping.load()) return;
      work(worker);
      if (busy.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        std::lock_guard lock(mutex);
        done.notify_one();
      }
    }
  }

  void work(int worker) {
    int64_t begin = 0, end = 0;
    while (range.take(begin, end)) {
      try {
        (*body)(begin, end, worker);
      } catch (...) {
        std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    }
  }

  const int num_threads;
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake, done;
  std::atomic<uint64_t> ticket{0};
  std::atomic<int> busy{0};
  std::atomic<bool> stopping{false};
  SharedRange range;
  const Body* body = nullptr;
  std::exception_ptr failure;
};

ThreadPool::ThreadPool(int threads) : impl_(std::make_unique<Impl>(std::max(1, threads))) {}
ThreadPool::~ThreadPool() = default;
int ThreadPool::num_threads() const { return impl_->num_threads; }

void ThreadPool::run(int64_t count, int64_t grain, FunctionRef<void(int64_t, int64_t, int)> body) {
  if (count <= 0) return;
  grain = std::max<int64_t>(1, grain);
  Impl& pool = *impl_;
  if (pool.num_threads == 1 || count <= grain) {
    body(0, count, 0);
    return;
  }
  pool.range.reset(count, grain, pool.num_threads);
  pool.body = &body;
  pool.failure = nullptr;
  pool.busy.store(pool.num_threads - 1, std::memory_order_relaxed);
  {
    std::lock_guard lock(pool.mutex);
    pool.ticket.fetch_add(1, std::memory_order_release);
  }
  pool.wake.notify_all();
  pool.work(0);
  for (int spin = 0; spin < kSpins && pool.busy.load(std::memory_order_acquire) != 0; ++spin) pause_briefly();
  if (pool.busy.load(std::memory_order_acquire) != 0) {
    std::unique_lock lock(pool.mutex);
    pool.done.wait(lock, [&] { return pool.busy.load() == 0; });
  }
  if (pool.failure) std::rethrow_exception(pool.failure);
}

}  // namespace fathom
