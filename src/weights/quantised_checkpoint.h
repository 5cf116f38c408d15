// The weights of a model written anew with int8 or int4 matrices, piece by piece: a model larger than memory
// can be quantised.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/parallel.h"
#include "base/result.h"
#include "weights/model_source.h"

namespace fathom {

// What became of a tensor. Errors are of the values that int8 or int4 stands for; 0 where the tensor stayed
// as it was.
struct QuantisedTensor {
  std::string name;
  std::vector<int64_t> shape;
  DType from = DType::kF32, to = DType::kF32;
  int64_t group = 0;                     // of int4
  int64_t bytes_from = 0, bytes_to = 0;  // bytes_to with the scales
  double relative_error = 0;             // root of the sum of squared errors over that of squared values
  double largest_error = 0;              // over the largest value
};

// Bytes that write_quantised_weights() holds at a time, beside the mapped source.
int64_t quantising_bytes(const ModelPlan& plan);

// Writes the tensors of `source` into an existing directory, under the names that it has them: those that may
// be int8 or int4 as `matrices` says (plan/matrix_types.h), with their scales (weights/stored_matrix.h), all
// others byte for byte. `written` is told the bytes so far, now and then; it may stop the work by an error.
// The tensors, in the order of the model. Errors: those of reading the source; a source that is int8 or int4
// already; a value that the type does not hold.
Result<std::vector<QuantisedTensor>> write_quantised_weights(
    const std::string& directory, const ModelSource& source, const MatrixTypes& matrices, Parallel& parallel,
    const std::function<Status(uint64_t written)>& written = {}, uint64_t max_shard_bytes = kMaxShardBytes);

}  // namespace fathom
