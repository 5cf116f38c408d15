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

std::optional<LimitTime> limit_of(const Work& work, const Repetition& run) {
  const double read = work.bytes.value_or(0) / run.read_peak, gemm = work.flops.value_or(0) / run.gemm_peak;
  if (std::max(read, gemm) <= 0) return std::nullopt;
  return read > gemm ? LimitTime{Limit::kRead, read} : LimitTime{Limit::kGemm, gemm};
}

Work work_of(const Measurement& m) {
  Work work{.flops = m.products()};
  if (m.workload.decodes()) work.bytes = static_cast<double>(m.workload.tokens()) * m.bytes.total();
  return work;
}

Work work_of(const Measurement& m, EngineOp op) {
  const auto tokens = static_cast<double>(m.workload.tokens());
  const bool decodes = m.workload.decodes();
  const auto moves = [&](double bytes) { return Work{.bytes = tokens * bytes}; };
  const auto multiplies = [](double flops) { return Work{.flops = flops}; };
  switch (op) {
    case EngineOp::kLinear:
      return decodes ? Work{tokens * m.bytes.products, m.flops.linear} : multiplies(m.flops.linear);
    case EngineOp::kHead:
      return decodes ? Work{tokens * m.bytes.head, m.flops.head} : multiplies(m.flops.head);
    case EngineOp::kAttention:
      return decodes ? moves(m.bytes.kv) : multiplies(m.flops.attention);
    case EngineOp::kCausalConv1d:
      return decodes ? moves(m.bytes.conv) : Work{};
    case EngineOp::kSelectiveScan:
    case EngineOp::kSsdScan:
    case EngineOp::kGatedDelta:
      return decodes ? moves(m.bytes.ssm) : multiplies(m.flops.scan);
    default:
      return {};
  }
}

double share_of_limit(const Measurement& m, const Repetition& run) {
  const std::optional<LimitTime> limit = limit_of(work_of(m), run);
  return limit ? limit->seconds / run.seconds : 0;
}

}  // namespace fathom::cli::bench
