// Real-time control of how much a routed model computes: the router's decisions are shifted so that the mean
// depth of tokens, or the mean time that a token takes, meets a target.
//
// The shift integrates: after each token it moves by a constant times (what was spent - the target).
//
// For a time, it moves by half a step times (time / target - 1), that being 1 at the most, and no more than
// four steps beyond where it still decided something: the highest shift at which a token made more than the
// least passes, the lowest at which one made less than the most. So the mean of T tokens is off the target by
// no more than a share of 2 / T for each step that the shift went, if the target can be met and no token took
// twice that time. However many tokens were too slow, or too fast, whatever passes they made, the way back is
// no longer than their scores span and four steps.
//
// For a budget of passes, tokens that are off it by more than a few passes together are followed by some that
// make the least, or the most, until the debt is paid. So over T decoded tokens the mean is off by a few
// passes / T at the most, whatever the router's scores look like.
#pragma once

#include <cstdint>
#include <span>

#include "plan/model_plan.h"

namespace fathom {

// One step of a shift of the router's decisions, in what its scores are measured in.
double depth_shift_unit(const ModelPlan& plan);
// Steps beyond any score: so far shifted, every token makes the least passes, or the most.
constexpr double kMostShiftSteps = 1e4;

class DepthController {
 public:
  // For a plan with a router, which outlives it. Inactive (shift 0) until a target is set.
  explicit DepthController(const ModelPlan& plan);

  // Mean passes a token is to make: `share`, in (0, 1], of the most. The first pass is always made.
  void aim_at_budget(double share);
  // Time that a decoded token is to take.
  void aim_at_latency(double seconds);

  bool active() const { return target_depth_ > 0 || target_seconds_ > 0; }
  bool by_time() const { return target_seconds_ > 0; }
  double target_depth() const { return target_depth_; }

  // What ForwardOptions::depth_shift of the next call should be.
  float shift() const;

  // After a call: depths of its rows, 0 for those that never came to the router, and the time it took. Rows
  // of a prompt count together as a few tokens, as they were decided with one shift; their time counts only
  // where the prompt is one token.
  void note(std::span<const uint8_t> depths, double seconds);

 private:
  void move(double steps);
  void move_by_time(int depth, double steps);
  // The least (1) or the most (-1) from now on, until the debt is half paid.
  void force(int direction);

  double most_ = 1;  // passes
  double unit_ = 1;  // one step of the shift, in what scores are measured in
  double target_depth_ = 0, target_seconds_ = 0;
  double shift_ = 0;
  // Shifts between which decisions differ, as far as has been seen: the highest at which a decoded token made
  // more than the least passes, the lowest at which one made less than the most.
  double highest_ = 0, lowest_ = 0;
  double debt_ = 0;  // passes of decoded tokens beyond the target
  int forced_ = 0, last_forced_ = 0;
  double stride_ = 1;
};

}  // namespace fathom
