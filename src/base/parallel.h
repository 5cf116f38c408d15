// How kernels use more than one core. A kernel takes a Parallel& and never starts threads of its own; a
// process has one pool (the engine's ThreadPool, or LibTorch's behind the same interface while training).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace fathom {

// A reference to a callable (not owning it): cheaper than std::function and never allocates.
template <class Signature>
class FunctionRef;
template <class R, class... Args>
class FunctionRef<R(Args...)> {
 public:
  template <class F>
  FunctionRef(const F& f)  // NOLINT(google-explicit-constructor)
      : object_(&f),
        call_([](const void* o, Args... args) -> R { return (*static_cast<const F*>(o))(args...); }) {}
  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  const void* object_;
  R (*call_)(const void*, Args...);
};

// [0, count) shared out to workers that come for more when they are done, in whole grains. Ranges shrink
// towards the end: long runs of neighbours first, then small ones that even out who is done when.
class SharedRange {
 public:
  SharedRange() = default;
  // Before any worker comes.
  void reset(int64_t count, int64_t grain, int workers);
  // The next part, or false when nothing is left. Thread-safe.
  bool take(int64_t& begin, int64_t& end);

 private:
  std::atomic<int64_t> next_{0};
  int64_t count_ = 0, grain_ = 1, workers_ = 1;
};

class Parallel {
 public:
  virtual ~Parallel() = default;
  // Number of workers; a kernel may size per-worker scratch by it.
  virtual int num_threads() const = 0;
  // Calls body(begin, end, worker) for disjoint ranges that cover [0, count), worker in [0, num_threads()).
  // Ranges are multiples of `grain` except the last. Blocks until all are done; not reentrant. Which worker
  // gets which range is unspecified, so results must not depend on it.
  virtual void run(int64_t count, int64_t grain, FunctionRef<void(int64_t, int64_t, int)> body) = 0;
};

// Everything on the calling thread.
class SerialParallel final : public Parallel {
 public:
  int num_threads() const override { return 1; }
  void run(int64_t count, int64_t /*grain*/, FunctionRef<void(int64_t, int64_t, int)> body) override {
    if (count > 0) body(0, count, 0);
  }
};

// A pool of `threads` workers, the calling thread being one of them. Workers spin briefly, then sleep.
class ThreadPool final : public Parallel {
 public:
  // Throws std::runtime_error where the system gives fewer threads.
  explicit ThreadPool(int threads);
  ~ThreadPool() override;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  int num_threads() const override;
  void run(int64_t count, int64_t grain, FunctionRef<void(int64_t, int64_t, int)> body) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fathom
