// Learning-rate schedules, as functions of the step (from 0). Step 0 of a warm-up has learning rate 0: the
// moments advance, the parameters stay, as in the published code of both families. That of
// Decoder-Hybrid-Decoder evaluates its schedule for each micro-batch, and a step uses what its last one had.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace fathom::train {

enum class ScheduleKind : uint8_t { kConstant, kLinear, kCosine, kWsd };

// All kinds rise linearly from 0 to `peak` over `warmup_steps`. Then, with p in [0, 1] the part of the decay
// done:
//   constant   peak
//   linear     from peak to final_ratio * peak, over the remaining steps
//   cosine     final + (peak - final) (1 + cos(pi p)) / 2, over the remaining steps
//   wsd        peak until the last `decay_steps`, then down to final_ratio * peak ("trapezoid"), by its
//   shape:
//              linear 1 - p; cosine (1 + cos(pi p)) / 2; 1-sqrt 1 - sqrt(p)
enum class DecayShape : uint8_t { kLinear, kCosine, kOneMinusSqrt };

struct Schedule {
  ScheduleKind kind = ScheduleKind::kCosine;
  double peak = 1e-3;
  int64_t total_steps = 0;
  int64_t warmup_steps = 0;
  int64_t decay_steps = 0;  // wsd only
  double final_ratio = 0;
  DecayShape decay_shape = DecayShape::kLinear;  // wsd only
  bool per_micro_batch = false;                  // evaluated for each; a step has the rate of its last one

  // `step` may lie between two: micro-batch m of A in step s stands at s + m / A.
  double at(double step) const;
  // The rate of a step of `micro_batches`.
  double of_step(int64_t step, int64_t micro_batches) const;
};

// "constant", "linear", "cosine", "wsd".
Result<ScheduleKind> parse_schedule(const std::string& name);
const char* name_of(ScheduleKind kind);

}  // namespace fathom::train
