// What every op bench needs: one pool of all cores, and figures as shares of the limit, which is measured in
// the same run.
#pragma once

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "base/machine_limits.h"
#include "base/parallel.h"
#include "kernels/peaks/peaks.h"

namespace fathom::kernels::benchmarking {

inline ThreadPool& pool() {
  static ThreadPool instance(available_cores());
  return instance;
}

// Numbers between -1 and 1, the same in every run.
inline std::vector<float> varied(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<float>(i * 2654435761U % 1021) / 510.0F - 1.0F;
  return values;
}

// Bytes that must move and floating-point operations that must be done, per iteration; the operations are on
// numbers of type `products`. Called behind the timed loop: measures the machine's read peak and its peak of
// multiply-adds there and then (kernels/peaks/), and prints as of_limit the time that the slower of the two
// needs at least, over the time that was taken. The label says which it was and how high the peak stood.
// Above 1: the bytes lay in a cache.
inline void report(benchmark::State& state, double bytes, double flops, DType products = DType::kF32) {
  static SteadyClock clock;
  static ReadProbe probe(ReadProbe::bytes_beyond_caches(), pool(), clock);
  const double read = probe.measure();
  const MultiplyPeak multiply = measure_multiply_peak(products, pool(), clock);
  const double read_seconds = bytes / read, multiply_seconds = flops / multiply.flops_per_second;
  const auto iterations = static_cast<double>(state.iterations());
  const auto rate = [&](double each) {
    return benchmark::Counter(each * iterations, benchmark::Counter::kIsRate);
  };
  state.counters["GB/s"] = rate(bytes * 1e-9);
  state.counters["GFLOP/s"] = rate(flops * 1e-9);
  state.counters["of_limit"] = rate(std::max(read_seconds, multiply_seconds));
  char label[96];
  if (read_seconds >= multiply_seconds) {
    std::snprintf(label, sizeof label, "read %.1f GB/s", read * 1e-9);
  } else {
    std::snprintf(label, sizeof label, "%s %.0f GFLOP/s", multiply.loop.c_str(),
                  multiply.flops_per_second * 1e-9);
  }
  state.SetLabel(label);
}

}  // namespace fathom::kernels::benchmarking
