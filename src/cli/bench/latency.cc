#include "cli/bench/latency.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/check.h"

namespace fathom::cli::bench {

double percentile(std::span<const double> sorted, double percent) {
  FATHOM_CHECK(!sorted.empty() && percent >= 0 && percent <= 100, "a percentile of nothing");
  const double place = percent / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return std::lerp(sorted[below], sorted[above], place - static_cast<double>(below));
}

std::optional<Latency> latency_of(std::vector<double> samples) {
  if (samples.empty()) return std::nullopt;
  std::ranges::sort(samples);
  const double sum = std::accumulate(samples.begin(), samples.end(), 0.0);
  return Latency{.mean = sum / static_cast<double>(samples.size()),
                 .p50 = percentile(samples, 50),
                 .p95 = percentile(samples, 95),
                 .p99 = percentile(samples, 99),
                 .most = samples.back()};
}

}  // namespace fathom::cli::bench
