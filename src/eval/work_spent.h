// What an evaluation made a model do: rows, recursion depths, operations.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "plan/model_plan.h"

namespace fathom::eval {

class WorkSpent {
 public:
  // One forward call: rows at positions begin, begin + 1, ..., all of which went through the head, or none,
  // which then took the prefill shortcut. `depths`: passes that each row made; empty without routing.
  void add(int64_t begin, int64_t rows, bool logits, std::span<const uint8_t> depths);

  void add(const WorkSpent& other);

  int64_t rows() const { return rows_; }
  // Passes through the routed segment of a row, on average; 0 without routing.
  double mean_depth() const;
  // share[r]: the part of the rows that made pass r, counted from 0; empty without routing.
  std::vector<double> depth_shares() const;
  // Operations of a forward pass by the formulas of plan/work.h, with the depths that were met in place of
  // the capacities; per row. 0 without rows.
  double flops_per_row(const ModelPlan& plan) const;

 private:
  int64_t rows_ = 0;
  std::vector<int64_t> with_logits_, without_;  // [position] rows
  std::vector<int64_t> at_depth_;               // rows that made pass r
};

}  // namespace fathom::eval
