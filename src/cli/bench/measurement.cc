#include "cli/bench/measurement.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace fathom::cli::bench {

Spread spread_of(std::span<const double> samples) {
  FATHOM_CHECK(!samples.empty(), "no samples");
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t count = sorted.size();
  Spread spread{.least = sorted.front(), .most = sorted.back()};
  for (double sample : sorted) spread.mean += sample / static_cast<double>(count);
  spread.median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
  double squares = 0;
  for (double sample : sorted) squares += (sample - spread.mean) * (sample - spread.mean);
  if (count > 1) spread.stddev = std::sqrt(squares / static_cast<double>(count - 1));
  return spread;
}

double tokens_per_second(const Measurement& m, const Repetition& run) {
  return static_cast<double>(m.workload.tokens()) / run.seconds;
}

double share_of_limit(const Measurement& m, const Repetition& run) {
  if (m.workload.decodes()) return m.bytes.total() * tokens_per_second(m, run) / run.read_peak;
  return m.products() / run.seconds / run.gemm_peak;
}

std::optional<double> work_of(const Measurement& m, EngineOp op) {
  const auto tokens = static_cast<double>(m.workload.tokens());
  const bool decodes = m.workload.decodes();
  switch (op) {
    case EngineOp::kLinear:
      return decodes ? tokens * m.bytes.products : m.flops.linear;
    case EngineOp::kHead:
      return decodes ? tokens * m.bytes.head : m.flops.head;
    case EngineOp::kAttention:
      return decodes ? tokens * m.bytes.kv : m.flops.attention;
    case EngineOp::kCausalConv1d:
      return decodes ? std::optional(tokens * m.bytes.conv) : std::nullopt;
    case EngineOp::kSelectiveScan:
    case EngineOp::kSsdScan:
    case EngineOp::kGatedDelta:
      return decodes ? tokens * m.bytes.ssm : m.flops.scan;
    default:
      return std::nullopt;
  }
}

}  // namespace fathom::cli::bench
