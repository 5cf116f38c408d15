// A checkpoint's tensor as it is found: values in F32, F16 or BF16; or, where the parameter may be int8
// (plan/matrix_types.h), I8 with a float for each row in a second tensor, whose name has "_scale" behind it;
// or, where it may be int4, U8 with a word for each group of a row in a second tensor, whose name has
// "_groups" behind it (docs/formats/checkpoint.md).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "io/weight_files.h"
#include "plan/matrix_types.h"
#include "plan/model_plan.h"
#include "plan/naming.h"

namespace fathom {

struct StoredMatrix {
  StoredTensor stored;
  int64_t columns = 0;        // values of a row
  std::vector<float> scales;  // [rows] of I8, else empty
  StoredTensor groups;        // words [rows, groups] of int4, else none
  int64_t group = 0;          // columns of a group of int4, else 0

  DType dtype() const { return group > 0 ? DType::kI4 : stored.info->dtype; }
  int64_t rows() const { return stored.info->shape.front(); }
  int64_t row_elements() const { return columns; }
  // The bytes of a row on, and of the words of its groups.
  const uint8_t* row_at(int64_t row) const;
  const uint8_t* words_at(int64_t row) const;
  // Values of rows [first, first + count) as float, [count * row_elements()].
  Status read_rows(int64_t first, int64_t count, std::span<float> out) const;
};

std::string scale_name(const std::string& tensor);
std::string groups_name(const std::string& tensor);

// kI4 if any tensor is int4, else kI8 if any is int8, else kF32.
DType quantised_type(const WeightFiles& files);
// In what a tensor of `columns` values in a row is stored if it is int8 or int4, whose group then is one that
// the words' shape tells; nothing of others.
std::optional<MatrixTypes::Own> quantised_type(const WeightFiles& files, const StoredTensor& stored,
                                               int64_t columns);

// The tensors of a checkpoint whose matrices are `matrix_type`: those of checkpoint_tensors(), but that of a
// tensor of which a part may be int8 and a part may not, the second lies apart, under the name with "_high"
// behind it.
std::vector<FileTensor> stored_tensors(const ModelPlan& plan, NamingScheme scheme, DType matrix_type);
// The same of the checkpoint in `files`.
std::vector<FileTensor> stored_tensors(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files);

// The stored tensor of a table entry, under whichever of its names. All of them that are there must hold the
// same values in the same shape, so ties may be stored once, aliased or repeated. Errors name the tensor.
Result<StoredMatrix> find_tensor(const ModelPlan& plan, const FileTensor& wanted, const WeightFiles& files);

// "tensor NAME holds ...": the sentence of a row that `type`, int8 or int4, does not hold.
std::string not_held(const StoredMatrix& matrix, int64_t row, DType type);

// An error names a stored tensor that is in no entry of the table. Tables of rotary positions
// (*.rotary_emb.inv_freq), which older checkpoints hold, are passed over.
Status refuse_unknown_tensors(const std::vector<FileTensor>& table, const WeightFiles& files);

}  // namespace fathom
