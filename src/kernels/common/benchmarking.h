// What every op bench needs: one pool of all cores, and counters as shares of a stated limit.
#pragma once

#include <benchmark/benchmark.h>

#include "base/parallel.h"

namespace fathom::kernels::benchmarking {

inline ThreadPool& pool() {
  static ThreadPool instance(available_cores());
  return instance;
}

// Bytes that must move and floating-point operations that must be done, per iteration.
inline void report(benchmark::State& state, double bytes, double flops) {
  const auto iterations = static_cast<double>(state.iterations());
  state.counters["GB/s"] = benchmark::Counter(bytes * 1e-9 * iterations, benchmark::Counter::kIsRate);
  state.counters["GFLOP/s"] = benchmark::Counter(flops * 1e-9 * iterations, benchmark::Counter::kIsRate);
}

}  // namespace fathom::kernels::benchmarking
