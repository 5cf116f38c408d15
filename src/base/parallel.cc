#include "base/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <fstream>
#include <mutex>
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

struct ThreadPool::Impl {
  using Body = FunctionRef<void(int64_t, int64_t, int)>;

  explicit Impl(int threads) : num_threads(threads) {
    for (int worker = 1; worker < threads; ++worker) workers.emplace_back([this, worker] { serve(worker); });
  }

  ~Impl() {
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

  // Ranges shrink towards the end: long runs of neighbours first, then small ones that even out who is done
  // when.
  int64_t next_range(int64_t left) const { return round_up(ceil_div(left, int64_t{2} * num_threads), grain); }

  void work(int worker) {
    for (;;) {
      int64_t begin = next.load(std::memory_order_relaxed), end = 0;
      do {
        if (begin >= count) return;
        end = std::min(count, begin + next_range(count - begin));
      } while (!next.compare_exchange_weak(begin, end, std::memory_order_relaxed));
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
  std::atomic<int64_t> next{0};
  int64_t count = 0, grain = 1;
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
  pool.count = count;
  pool.grain = grain;
  pool.body = &body;
  pool.failure = nullptr;
  pool.next.store(0, std::memory_order_relaxed);
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

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  // cgroup v2: "max 100000" or "<quota> <period>" in microseconds.
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (file >> quota >> period && quota != "max" && period > 0) {
    const double allowed = std::strtod(quota.c_str(), nullptr) / period;
    if (allowed >= 1) cores = std::min(cores, static_cast<int>(allowed));
    if (allowed > 0 && allowed < 1) cores = 1;
  }
  return std::max(1, cores);
}

}  // namespace fathom
