// Times of many requests in a few numbers.
#pragma once

#include <optional>
#include <span>
#include <vector>

namespace fathom::cli::bench {

// What `percent` of the samples, 0 to 100, do not exceed; between two of them, in proportion. `sorted` is
// ascending and has at least one.
double percentile(std::span<const double> sorted, double percent);

struct Latency {
  double mean = 0, p50 = 0, p95 = 0, p99 = 0, most = 0;
};
// Nothing without samples.
std::optional<Latency> latency_of(std::vector<double> samples);

}  // namespace fathom::cli::bench
