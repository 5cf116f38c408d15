// A checkpoint's tensor as it is found: values in F32, F16 or BF16; or, where the parameter may be int8
// (plan/matrix_types.h), I8 with a float for each row in a second tensor, whose name has "_scale" behind it
// (docs/formats/checkpoint.md).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/weight_files.h"
#include "plan/model_plan.h"
#include "plan/naming.h"

namespace fathom {

struct StoredMatrix {
  StoredTensor stored;
  std::vector<float> scales;  // [rows] of I8, else empty

  DType dtype() const { return stored.info->dtype; }
  int64_t rows() const { return stored.info->shape.front(); }
  int64_t row_elements() const { return static_cast<int64_t>(stored.info->elements()) / rows(); }
  // Values of rows [first, first + count) as float, [count * row_elements()].
  Status read_rows(int64_t first, int64_t count, std::span<float> out) const;
};

std::string scale_name(const std::string& tensor);

// Whether any tensor is int8.
bool holds_int8(const WeightFiles& files);

// The tensors of a checkpoint whose matrices are `matrix_type`: those of checkpoint_tensors(), but that of a
// tensor of which a part may be int8 and a part may not, the second lies apart, under the name with "_high"
// behind it.
std::vector<FileTensor> stored_tensors(const ModelPlan& plan, NamingScheme scheme, DType matrix_type);
// The same of the checkpoint in `files`.
std::vector<FileTensor> stored_tensors(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files);

// The stored tensor of a table entry, under whichever of its names. All of them that are there must hold the
// same values in the same shape, so ties may be stored once, aliased or repeated. Errors name the tensor.
Result<StoredMatrix> find_tensor(const ModelPlan& plan, const FileTensor& wanted, const WeightFiles& files);

// An error names a stored tensor that is in no entry of the table. Tables of rotary positions
// (*.rotary_emb.inv_freq), which older checkpoints hold, are passed over.
Status refuse_unknown_tensors(const std::vector<FileTensor>& table, const WeightFiles& files);

}  // namespace fathom
