#include "cli/bench/runner.h"

#include <algorithm>
#include <cmath>

#include "base/random.h"

namespace fathom::cli::bench {

namespace {

constexpr uint64_t kSeed = 2;
constexpr int64_t kApart = 17;  // tokens between what two sequences read

int64_t context_of(std::span<const Workload> workloads) {
  int64_t most = 1;
  for (const Workload& w : workloads) most = std::max(most, w.end());
  return most;
}

// Rows of one sequence in the largest call.
int64_t chunk_of(std::span<const Workload> workloads, const RunnerOptions& options) {
  int64_t most = 1;
  for (const Workload& w : workloads) {
    most = std::max(most, w.prompt);
    if (options.fill == DepthFill::kPrefill) most = std::max(most, w.depth);
  }
  return std::min(most, options.chunk);
}

int64_t most_parallel(std::span<const Workload> workloads) {
  int64_t most = 1;
  for (const Workload& w : workloads) most = std::max(most, w.parallel);
  return most;
}

// Rows of the largest call.
int64_t max_rows_of(std::span<const Workload> workloads, const RunnerOptions& options) {
  return std::max(chunk_of(workloads, options), most_parallel(workloads));
}

std::vector<int32_t> random_tokens(int64_t count, int64_t vocab) {
  std::vector<int32_t> tokens;
  RandomStream stream(kSeed, 0);
  for (int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<int32_t>(stream.next_below(static_cast<uint64_t>(vocab))));
  return tokens;
}

}  // namespace

Runner::Runner(const BenchModel& model, std::span<const Workload> workloads, const RunnerOptions& options,
               kernels::ReadProbe& probe, Parallel& parallel, Clock& clock)
    : model_(model),
      options_(options),
      parallel_(parallel),
      clock_(clock),
      probe_(probe),
      gemm_loop_(kernels::measure_multiply_peak(options.matrix_type, parallel, clock).loop),
      tokens_(random_tokens(context_of(workloads), model.plan.dims.vocab_size)),
      chunk_(chunk_of(workloads, options)),
      executor_(model.plan, *model.weights, max_rows_of(workloads, options), context_of(workloads), parallel,
                options.numerics) {
  for (int64_t s = 0; s < most_parallel(workloads); ++s)
    states_.push_back(executor_.make_state(options.kv_type));
  for (const Workload& workload : workloads) measurements_.push_back({.workload = workload});
}

void Runner::forward(int64_t sequences, int64_t rows, Logits logits) {
  calls_.clear();
  for (int64_t s = 0; s < sequences; ++s) {
    SequenceState& state = states_[static_cast<size_t>(s)];
    // Each reads tokens of its own, so that routers decide for each.
    const int64_t from = (state.position() + kApart * s) % (static_cast<int64_t>(tokens_.size()) - rows + 1);
    calls_.push_back({&state, std::span<const int32_t>(tokens_).subspan(static_cast<size_t>(from),
                                                                        static_cast<size_t>(rows))});
    calls_.back().options.prefill_shortcut = options_.prefill_shortcut;
    calls_.back().options.logits = logits;
  }
  size_t most = 0;
  for (const ForwardResult& result : executor_.forward(calls_)) {
    for (uint8_t depth : result.depths) {
      most = std::max<size_t>(most, depth);
      if (reached_.size() < depth) reached_.resize(depth, 0);
      for (int r = 0; r < depth; ++r) ++reached_[static_cast<size_t>(r)];
    }
  }
  if (reached_calls_.size() < most) reached_calls_.resize(most, 0);
  for (size_t r = 0; r < most; ++r) ++reached_calls_[r];
}

template <class Lap>
void Runner::run(const Workload& workload, const Lap& lap) {
  reached_.clear();
  reached_calls_.clear();
  const int64_t step = workload.decodes() ? 1 : chunk_;
  for (int64_t at = workload.depth; at < workload.end(); at += step) {
    if (at > workload.depth) lap();
    const int64_t rows = std::min(step, workload.end() - at);
    const bool wanted = workload.decodes() || at + rows == workload.end();
    forward(workload.parallel, rows, wanted ? Logits::kLast : Logits::kNone);
  }
}

void Runner::restore(const Workload& workload) {
  const int64_t depth = workload.depth;
  if (depth > 0 && !filled_.contains(depth)) {
    states_.front().reset();
    if (options_.fill == DepthFill::kPrefill) {
      run({.prompt = depth}, [] {});
    } else {
      fill_randomly(states_.front(), depth);
    }
    filled_.emplace(depth, executor_.make_state(options_.kv_type)).first->second.copy_from(states_.front());
  }
  for (int64_t s = 0; s < workload.parallel; ++s) {
    SequenceState& state = states_[static_cast<size_t>(s)];
    if (depth == 0) {
      state.reset();
    } else {
      state.copy_from(filled_.at(depth));
    }
  }
}

void Runner::fill_randomly(SequenceState& state, int64_t depth) const {
  const ModelPlan& plan = model_.plan;
  constexpr int64_t kRows = 64;
  std::vector<float> drawn;
  RandomStream stream(kSeed, 1);
  const auto draw = [&](int64_t count) {
    drawn.clear();
    for (int64_t i = 0; i < count; ++i) drawn.push_back(stream.next_normal());
  };
  for (const Segment& segment : plan.segments) {
    for (const Layer& layer : segment.layers) {
      for (SlotId id : layer.writes) {
        const Slot& slot = plan.slots[static_cast<size_t>(id)];
        if (!slot.persistent()) continue;
        for (int32_t copy = 0; copy < slot.copies; ++copy) {
          if (slot.kind == SlotKind::kSsmState) {
            SsmState& ssm = state.ssm(id, copy);
            draw(slot.channels * (slot.conv - 1));
            std::ranges::copy(drawn, ssm.conv());
            draw(slot.inner * slot.state);
            std::ranges::copy(drawn, ssm.ssm());
            continue;
          }
          const double share =
              segment.router ? segment.router->spec.capacity[static_cast<size_t>(copy)] : 1.0;
          const int64_t entries = std::llround(share * static_cast<double>(depth));
          draw(2 * kRows * slot.num_kv_heads * slot.head_dim);
          KvState& kv = state.kv(id, copy);
          for (int64_t at = 0; at < entries; at += kRows)
            kv.append(drawn.data(), drawn.data() + drawn.size() / 2, std::min(kRows, entries - at));
        }
      }
    }
  }
  state.advance(depth);
}

void Runner::warm_up() {
  for (const Measurement& m : measurements_) {
    Workload workload = m.workload;
    workload.generate = std::min<int64_t>(workload.generate, 1);
    restore(workload);
    run(workload, [] {});
  }
  probe_.calibrate();
}

Repetition Runner::time(const Workload& workload) {
  restore(workload);
  BracketedTimer timer(probe_, options_.matrix_type, parallel_, clock_);
  timer.begin();
  run(workload, [&] { timer.lap(); });
  return timer.end();
}

void Runner::round() {
  for (Measurement& m : measurements_) {
    m.repetitions.push_back(time(m.workload));
    count(m);
  }
}

void Runner::profile() {
  for (Measurement& m : measurements_) {
    OpProfile ops(clock_);
    executor_.set_observer(&ops);
    Profile profile{.run = time(m.workload), .ops = {}};
    executor_.set_observer(nullptr);
    for (size_t op = 0; op < kEngineOps; ++op) profile.ops[op] = ops.at(static_cast<EngineOp>(op));
    m.profile = profile;
  }
}

void Runner::count(Measurement& m) const {
  const Workload& w = m.workload;
  const auto parallel = static_cast<double>(w.parallel);
  const int64_t logit_rows = w.decodes() ? w.generate : 1;
  // Shares of the tokens that came to the router, which a shortcut may keep from most of a prompt.
  const bool left = options_.prefill_shortcut && routes_behind_state(model_.plan);
  const int64_t came = left ? logit_rows * w.parallel : w.tokens();
  const auto with_shares = [&](const std::vector<int64_t>& reached, int64_t of) {
    std::vector<double> shares;
    for (int64_t count : reached) shares.push_back(static_cast<double>(count) / static_cast<double>(of));
    return shares.empty() ? model_.plan : with_depth_shares(model_.plan, shares);
  };
  const ModelPlan plan = with_shares(reached_, came);
  if (!reached_.empty()) {
    m.mean_depth = 0;
    for (int64_t tokens : reached_) *m.mean_depth += static_cast<double>(tokens) / static_cast<double>(came);
  }
  m.flops = options_.prefill_shortcut ? count_prefill_work(plan, w.depth, w.end(), logit_rows)
                                      : count_work(plan, w.depth, w.end(), logit_rows);
  for (double* part : {&m.flops.linear, &m.flops.attention, &m.flops.scan, &m.flops.head, &m.flops.router})
    *part *= parallel;
  if (!w.decodes()) return;
  m.bytes = count_decode_bytes(plan, w.depth, w.end(), options_.matrix_type, options_.kv_type);
  if (w.parallel == 1) return;
  // The sequences of a call share its weights, those of a pass if one of them makes it.
  const DecodeBytes call = count_decode_bytes(with_shares(reached_calls_, w.generate), w.depth, w.end(),
                                              options_.matrix_type, options_.kv_type);
  m.bytes.products = call.products / parallel;
  m.bytes.head = call.head / parallel;
  m.bytes.small = call.small / parallel;
}

int64_t runner_bytes(const ModelPlan& plan, std::span<const Workload> workloads,
                     const RunnerOptions& options) {
  const StateBytes state = count_state(plan, options.kv_type);
  const int64_t context = context_of(workloads), rows = max_rows_of(workloads, options);
  std::vector<int64_t> depths;
  for (const Workload& w : workloads) {
    if (w.depth > 0 && std::ranges::find(depths, w.depth) == depths.end()) depths.push_back(w.depth);
  }
  const int64_t states = most_parallel(workloads) + static_cast<int64_t>(depths.size());
  const int64_t logits = rows * plan.dims.vocab_size * size_of(DType::kF32);
  return states * (context * state.per_token_most + state.per_sequence) + logits +
         2 * kernels::ReadProbe::bytes_beyond_caches();
}

}  // namespace fathom::cli::bench
