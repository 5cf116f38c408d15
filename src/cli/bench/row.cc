#include "cli/bench/row.h"

#include "plan/count.h"
#include "plan/work.h"

namespace fathom::cli::bench {

namespace {

template <class Value>
std::vector<double> samples_of(const Measurement& m, const Value& value) {
  std::vector<double> samples;
  for (const Repetition& run : m.repetitions) samples.push_back(value(run));
  return samples;
}

Json profile_of(const Measurement& m) {
  if (!m.profile) return nullptr;
  const Repetition& run = m.profile->run;
  Json rows = Json::array();
  double seen = 0;
  const auto add = [&](std::string_view name, int64_t calls, double seconds, const Work& work) {
    const std::optional<LimitTime> limit = limit_of(work, run);
    const bool reads = limit ? limit->limit == Limit::kRead : m.workload.decodes();
    const std::optional<double> amount = reads ? work.bytes : work.flops;
    rows.push_back({{"op", name},
                    {"calls", calls},
                    {"ns", seconds * 1e9},
                    {"share_of_time", seconds / run.seconds},
                    {"work", amount ? Json(*amount) : Json()},
                    {"unit", reads ? "bytes" : "flops"},
                    {"share_of_limit", limit && seconds > 0 ? Json(limit->seconds / seconds) : Json()}});
  };
  for (size_t i = 0; i < kEngineOps; ++i) {
    const OpProfile::Entry& entry = m.profile->ops[i];
    if (entry.calls == 0) continue;
    const auto op = static_cast<EngineOp>(i);
    add(name_of(op), entry.calls, entry.seconds, work_of(m, op));
    seen += entry.seconds;
  }
  add("between ops", 0, run.seconds - seen, {});
  return rows;
}

}  // namespace

Json head_of_row(const Environment& environment, const ModelFacts& facts) {
  const BenchModel& model = *facts.model;
  return {
      {"build_version", environment.version},
      {"build_commit", environment.commit},
      {"cpu_info", environment.processor},
      {"isa", environment.isa},
      {"test_time", facts.time},
      {"model", model.name},
      {"model_filename", model.given},
      {"model_type", model.plan.spec.architecture},
      {"model_n_params", count_parameters(model.plan).unique},
      {"model_size", count_weight_bytes(model.plan, facts.matrix_type)},
      {"bits_per_weight", 8 * static_cast<double>(count_weight_bytes(model.plan, facts.matrix_type)) /
                              static_cast<double>(count_parameters(model.plan).unique)},
      {"weights", model.random ? "random" : "checkpoint"},
      {"dtype", name_of(facts.matrix_type)},
      {"kv_type", name_of(facts.kv_type)},
      {"rounding", word_of(facts.numerics.rounding)},
      {"state_dtype", name_of(facts.numerics.state_type)},
      {"n_threads", facts.threads},
      {"n_batch", facts.chunk},
  };
}

Json row_of(const Environment& environment, const ModelFacts& facts, const Measurement& m) {
  const Workload& w = m.workload;
  const auto tokens = static_cast<double>(w.tokens());
  const auto rates = samples_of(m, [&](const Repetition& run) { return tokens_per_second(m, run); });
  const auto times = samples_of(m, [](const Repetition& run) { return run.seconds * 1e9; });
  const auto shares = samples_of(m, [&](const Repetition& run) { return share_of_limit(m, run); });
  const auto reads = samples_of(m, [](const Repetition& run) { return run.read_peak; });
  const auto gemms = samples_of(m, [](const Repetition& run) { return run.gemm_peak; });
  const Spread rate = spread_of(rates), time = spread_of(times), share = spread_of(shares),
               read = spread_of(reads), gemm = spread_of(gemms);
  const std::optional<LimitTime> limit =
      limit_of(work_of(m), {.read_peak = read.median, .gemm_peak = gemm.median});
  const auto if_decoding = [&](double value) { return w.decodes() ? Json(value) : Json(); };
  Json row = head_of_row(environment, facts);
  row.update(Json{
      {"test", w.name()},
      {"n_prompt", w.prompt},
      {"n_gen", w.generate},
      {"n_depth", w.depth},
      {"n_parallel", w.parallel},
      {"depth_fill", w.depth > 0 ? Json(facts.depth_fill) : Json()},
      {"prefill_shortcut", w.decodes() ? Json() : Json(facts.prefill_shortcut ? "on" : "off")},
      {"repetitions", m.repetitions.size()},
      {"mean_depth", m.mean_depth ? Json(*m.mean_depth) : Json()},
      {"avg_ns", time.mean},
      {"stddev_ns", time.stddev},
      {"avg_ts", rate.mean},
      {"stddev_ts", rate.stddev},
      {"median_ts", rate.median},
      {"min_ts", rate.least},
      {"max_ts", rate.most},
      {"median_ts_sequence", rate.median / static_cast<double>(w.parallel)},
      {"bytes_per_token", if_decoding(m.bytes.total())},
      {"bytes_weights", if_decoding(m.bytes.weights())},
      {"bytes_kv", if_decoding(m.bytes.kv)},
      {"bytes_state", if_decoding(m.bytes.state())},
      {"flops_per_token", m.flops.total() / tokens},
      {"flops_products", m.products() / tokens},
      {"flops_attention", m.flops.attention / tokens},
      {"flops_scan", m.flops.scan / tokens},
      {"flops_router", m.flops.router / tokens},
      {"read_peak", read.median},
      {"read_peak_min", read.least},
      {"read_peak_max", read.most},
      {"read_loop", facts.read_loop},
      {"gemm_peak", gemm.median},
      {"gemm_peak_min", gemm.least},
      {"gemm_peak_max", gemm.most},
      {"gemm_loop", facts.gemm_loop},
      {"limit", limit && limit->limit == Limit::kRead ? "read" : "gemm"},
      {"share_median", share.median},
      {"share_min", share.least},
      {"share_max", share.most},
      {"samples_ns", times},
      {"samples_ts", rates},
      {"samples_read_peak", reads},
      {"samples_gemm_peak", gemms},
      {"samples_share", shares},
      {"profile", profile_of(m)},
  });
  return row;
}

}  // namespace fathom::cli::bench
