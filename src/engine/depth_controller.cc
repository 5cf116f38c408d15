#include "engine/depth_controller.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace fathom {

namespace {

constexpr double kPerPass = 0.5;     // steps a pass too many is worth
constexpr double kPerTime = 0.5;     // steps for a token that took twice its time
constexpr double kBeyond = 4;        // steps from where the time of tokens may still depend on the shift
constexpr double kMostDebt = 6;      // passes that decoded tokens may be off the target, all together
constexpr size_t kRowsOfPrompt = 8;  // tokens that the rows of a longer call count as

}  // namespace

double depth_shift_unit(const ModelPlan& plan) {
  for (const Segment& segment : plan.segments) {
    // Logits of expert choice were taught as log-odds. Scores of token choice lie within alpha.
    if (segment.router && segment.router->spec.kind == RouterKind::kTokenChoice)
      return 0.1 * segment.router->spec.alpha;
  }
  return 1;
}

DepthController::DepthController(const ModelPlan& plan)
    : most_(most_passes(plan)), unit_(depth_shift_unit(plan)) {}

void DepthController::aim_at_budget(double share) {
  FATHOM_CHECK(share > 0 && share <= 1, "a budget is a share of the full depth, above 0 and at most 1");
  target_depth_ = std::max(1.0, share * most_);
  // What is lost before the shift has got there could not be made up for.
  if (target_depth_ >= most_) shift_ = -kMostShiftSteps * unit_;
}

void DepthController::aim_at_latency(double seconds) {
  FATHOM_CHECK(seconds > 0, "a token takes some time");
  target_seconds_ = seconds;
}

float DepthController::shift() const {
  return static_cast<float>(forced_ != 0 ? forced_ * kMostShiftSteps * unit_ : shift_);
}

void DepthController::move(double steps) {
  shift_ = std::clamp(shift_ + unit_ * steps, -kMostShiftSteps * unit_, kMostShiftSteps * unit_);
}

// A shift that went on while tokens cannot be any faster, or slower, would have to come all the way back.
void DepthController::move_by_time(int depth, double steps) {
  if (depth > 1) highest_ = std::max(highest_, shift_);
  if (depth < most_) lowest_ = std::min(lowest_, shift_);
  move(steps);
  shift_ = std::clamp(shift_, lowest_ - kBeyond * unit_, highest_ + kBeyond * unit_);
}

void DepthController::note(std::span<const uint8_t> depths, double seconds) {
  const auto routed = static_cast<size_t>(std::ranges::count_if(depths, [](uint8_t d) { return d > 0; }));
  if (routed == 0) return;
  const bool decoded = depths.size() == 1;
  if (target_depth_ > 0) {
    double sum = 0;
    for (uint8_t depth : depths) sum += depth;
    const double over = sum / static_cast<double>(routed) - target_depth_;
    if (decoded) debt_ += over;
    if (forced_ != 0) {
      if (forced_ * debt_ <= kMostDebt / 2) forced_ = 0;
      return;
    }
    move(kPerPass * over * static_cast<double>(std::min(routed, kRowsOfPrompt)));
    if (std::fabs(debt_) > kMostDebt) force(debt_ > 0 ? 1 : -1);
  } else if (target_seconds_ > 0 && decoded) {
    move_by_time(depths[0], kPerTime * std::clamp(seconds / target_seconds_ - 1, -1.0, 1.0));
  }
}

void DepthController::force(int direction) {
  // The shift was too small for scores like these: it strides on, further each time.
  stride_ = direction == last_forced_ ? 2 * stride_ : 1;
  last_forced_ = forced_ = direction;
  move(direction * stride_);
}

}  // namespace fathom
