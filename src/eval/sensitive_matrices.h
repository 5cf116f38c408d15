// Which matrices of a model stay int8 while the others become int4.
#pragma once

#include <functional>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "data/packed_rows.h"
#include "eval/perplexity.h"
#include "weights/model_source.h"

namespace fathom::eval {

// What the predictions lose, in nats, where one matrix alone is int4.
struct Sensitivity {
  std::vector<int32_t> params;  // that are stored in one tensor
  double divergence = 0;
  int64_t extra_bytes = 0;  // of int8 over int4
};

// Of every matrix that may be int4, over the first `count` rows of a text; between two matrices on_matrix()
// is told how many of how many are done, and may stop the work.
Result<std::vector<Sensitivity>> sensitivities(
    const ModelSource& source, const MatrixTypes& int4, const PackedRows& rows, int64_t count,
    const PackedSettings& settings, Parallel& parallel,
    const std::function<Status(int64_t done, int64_t of)>& on_matrix);

// `int4` with int8 for the matrices that lose most for their bytes, as far as `bytes` in all allow.
MatrixTypes with_int8(const ModelPlan& plan, MatrixTypes int4, std::vector<Sensitivity> matrices,
                      int64_t bytes);

}  // namespace fathom::eval
