// The mixers of the training executor that carry a state from token to token: u, [rows, hidden], to what the
// layer adds to its rows.
#pragma once

#include <cstdint>
#include <vector>

#include "plan/model_plan.h"
#include "train/ops.h"
#include "train/precision.h"
#include "train/recompute.h"

namespace fathom::train {

struct RecurrentPlace {
  const NotedParameters& parameters;
  int32_t depth = 0;
  Precision precision = Precision::kF32;  // of matrix products
  const std::vector<RowRange>& sequences;
};

struct RecurrentResult {
  Tensor branch;  // [rows, hidden]
  Tensor memory;  // [rows, inner]: the recurrence's result before the gate
};

RecurrentResult mix(const Mamba& mamba, const RecurrentPlace& place, const Tensor& u);
RecurrentResult mix(const Mamba2& mamba, const RecurrentPlace& place, const Tensor& u);
RecurrentResult mix(const GatedDelta& delta, const RecurrentPlace& place, const Tensor& u);

}  // namespace fathom::train
