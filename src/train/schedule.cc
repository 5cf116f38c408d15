#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace fathom::train {

double Schedule::at(double step) const {
  const auto warmup = static_cast<double>(warmup_steps), total = static_cast<double>(total_steps);
  if (step < warmup) return peak * step / warmup;
  const double final_rate = peak * final_ratio;
  const double decay_begin = kind == ScheduleKind::kWsd ? total - static_cast<double>(decay_steps) : warmup;
  const double decay_length = total - decay_begin;
  if (kind == ScheduleKind::kConstant || step < decay_begin || decay_length <= 0) return peak;
  const double done = std::min(1.0, (step - decay_begin) / decay_length);
  const bool wsd = kind == ScheduleKind::kWsd;
  if (kind == ScheduleKind::kCosine || (wsd && decay_shape == DecayShape::kCosine))
    return final_rate + (peak - final_rate) * 0.5 * (1.0 + std::cos(std::numbers::pi * done));
  if (wsd && decay_shape == DecayShape::kOneMinusSqrt)
    return final_rate + (peak - final_rate) * (1.0 - std::sqrt(done));
  return peak * (1.0 - (1.0 - final_ratio) * done);
}

double Schedule::of_step(int64_t step, int64_t micro_batches) const {
  const auto first = static_cast<double>(step), count = static_cast<double>(micro_batches);
  return at(per_micro_batch ? first + (count - 1) / count : first);
}

Result<ScheduleKind> parse_schedule(const std::string& name) {
  for (ScheduleKind kind :
       {ScheduleKind::kConstant, ScheduleKind::kLinear, ScheduleKind::kCosine, ScheduleKind::kWsd}) {
    if (name == name_of(kind)) return kind;
  }
  return invalid("unknown schedule \"" + name + "\", expected constant, linear, cosine or wsd");
}

const char* name_of(ScheduleKind kind) {
  switch (kind) {
    case ScheduleKind::kConstant:
      return "constant";
    case ScheduleKind::kLinear:
      return "linear";
    case ScheduleKind::kCosine:
      return "cosine";
    case ScheduleKind::kWsd:
      return "wsd";
  }
  return "?";
}

}  // namespace fathom::train
