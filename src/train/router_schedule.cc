#include "train/router_schedule.h"

#include <ATen/ops/tensor.h>

#include <algorithm>

#include "base/random.h"

namespace fathom::train {

namespace {

// Far from the streams of parameters, of random scores and of dropout, which count from 0.
constexpr uint64_t kCapacityStream = uint64_t{0xca9ac17e} << 32;

}  // namespace

void set_warmups(const ModelPlan& plan, int64_t call, ForwardOptions& options) {
  options.capacity_warmup = 1;
  options.force_deepest = false;
  for (const Segment& segment : plan.segments) {
    if (!segment.router) continue;
    const RouterSpec& spec = segment.router->spec;
    if (spec.capacity_warmup_steps > 0) {
      options.capacity_warmup =
          std::min(1.0, static_cast<double>(call) / static_cast<double>(spec.capacity_warmup_steps));
    }
    options.force_deepest = call < spec.balance_warmup_steps;
  }
}

void draw_capacities(const ModelPlan& plan, uint64_t seed, int64_t call, ForwardOptions& options) {
  options.capacity_draw = 0;
  for (const Segment& segment : plan.segments) {
    if (segment.router && !segment.router->spec.capacity_low.empty())
      options.capacity_draw = uniform(seed, kCapacityStream, static_cast<uint64_t>(call));
  }
}

void LoadBalancer::begin_call(const ForwardOptions& options) {
  if (!options.force_deepest) return;
  for (const Segment& segment : plan_.segments) {
    if (segment.router && segment.router->bias.present())
      std::ranges::fill(parameters_.values(segment.router->bias.at(0)), 0.0F);
  }
}

void LoadBalancer::note(const ForwardResult& result) {
  if (!result.choice) return;
  const std::vector<float>& load = result.choice->load;
  load_.resize(load.size());
  for (size_t i = 0; i < load.size(); ++i) load_[i] += load[i];
  ++calls_;
}

void LoadBalancer::update() {
  if (load_.empty()) return;
  // Whether a load is below, at or above its share is a matter of the last bit: float, in the published
  // order.
  for (float& load : load_) load /= static_cast<float>(calls_);
  const auto mean = at::tensor(load_).mean().item<float>();
  for (const Segment& segment : plan_.segments) {
    if (!segment.router || !segment.router->bias.present()) continue;
    const std::span<float> bias = parameters_.values(segment.router->bias.at(0));
    const double step = segment.router->spec.bias_update;
    for (size_t i = 0; i < bias.size(); ++i) {
      if (load_[i] != mean) bias[i] += static_cast<float>(load_[i] < mean ? step : -step);
    }
  }
  load_.clear();
  calls_ = 0;
}

}  // namespace fathom::train
