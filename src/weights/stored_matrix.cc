#include "weights/stored_matrix.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "base/check.h"
#include "plan/matrix_types.h"

namespace fathom {

namespace {

bool all_may_be_int8(const ModelPlan& plan, const FileTensor& tensor) {
  return std::ranges::all_of(tensor.pieces,
                             [&](const TensorPiece& piece) { return may_be_int8(plan, piece.param); });
}

// The pieces of `tensor` that may be int8, or those that may not, as a tensor of its own.
FileTensor part_of(const ModelPlan& plan, const FileTensor& tensor, bool int8) {
  FileTensor part{
      .name = tensor.name + (int8 ? "" : "_high"), .shape = tensor.shape, .pieces = {}, .aliases = {}};
  for (const std::string& alias : tensor.aliases) part.aliases.push_back(alias + (int8 ? "" : "_high"));
  part.shape.front() = 0;
  for (TensorPiece piece : tensor.pieces) {
    if (may_be_int8(plan, piece.param) != int8) continue;
    piece.file_row = part.shape.front();
    part.shape.front() += piece.rows;
    part.pieces.push_back(piece);
  }
  return part;
}

Result<std::vector<float>> scales_of(const StoredTensor& matrix, const WeightFiles& files) {
  const std::string name = scale_name(matrix.info->name);
  const std::vector<int64_t> shape = {matrix.info->shape.front()};
  const StoredTensor* stored = files.find(name);
  if (stored == nullptr) {
    return invalid(files.path() + ": tensor " + matrix.info->name + " is I8, and " + name +
                   " is missing, expected with shape " + shape_to_string(shape));
  }
  if (stored->info->dtype != DType::kF32) {
    return invalid(files.path() + ": tensor " + name + " has dtype " +
                   std::string(safetensors_name_of(stored->info->dtype)) + ", expected F32");
  }
  if (stored->info->shape != shape) {
    return invalid(files.path() + ": tensor " + name + " has shape " + shape_to_string(stored->info->shape) +
                   ", expected " + shape_to_string(shape));
  }
  FATHOM_ASSIGN(std::vector<float> scales, read_as_f32(*stored->file, name));
  for (size_t r = 0; r < scales.size(); ++r) {
    if (std::isfinite(scales[r]) && scales[r] >= 0) continue;
    return invalid(files.path() + ": tensor " + name + " holds " + std::to_string(scales[r]) + " in row " +
                   std::to_string(r) + ", expected a finite number of at least 0");
  }
  return scales;
}

// Tables that older code saved with the parameters: they follow from the configuration.
bool is_computed(const std::string& name) { return name.ends_with(".rotary_emb.inv_freq"); }

}  // namespace

std::string scale_name(const std::string& tensor) { return tensor + "_scale"; }

Status StoredMatrix::read_rows(int64_t first, int64_t count, std::span<float> out) const {
  const int64_t columns = row_elements();
  FATHOM_CHECK(0 <= first && first + count <= rows() && static_cast<int64_t>(out.size()) == count * columns,
               stored.info->name + ": rows outside the tensor");
  TensorInfo part = *stored.info;
  const auto row_bytes = static_cast<uint64_t>(columns * size_of(part.dtype));
  part.shape.front() = count;
  part.begin += static_cast<uint64_t>(first) * row_bytes;
  part.end = part.begin + static_cast<uint64_t>(count) * row_bytes;
  if (scales.empty()) return copy_as_f32(*stored.file, part, out);
  const auto* q = reinterpret_cast<const int8_t*>(stored.file->bytes(part).data());
  for (int64_t i = 0; i < count * columns; ++i)
    out[static_cast<size_t>(i)] = static_cast<float>(q[i]) * scales[static_cast<size_t>(first + i / columns)];
  return {};
}

bool holds_int8(const WeightFiles& files) {
  return std::ranges::any_of(files.tensors(),
                             [](const StoredTensor& stored) { return stored.info->dtype == DType::kI8; });
}

std::vector<FileTensor> stored_tensors(const ModelPlan& plan, NamingScheme scheme, DType matrix_type) {
  std::vector<FileTensor> published = checkpoint_tensors(plan, scheme);
  if (matrix_type != DType::kI8) return published;
  std::vector<FileTensor> table;
  for (FileTensor& tensor : published) {
    FileTensor low = part_of(plan, tensor, true), high = part_of(plan, tensor, false);
    if (low.pieces.empty() || high.pieces.empty()) {
      table.push_back(std::move(tensor));
    } else {
      table.push_back(std::move(low));
      table.push_back(std::move(high));
    }
  }
  return table;
}

std::vector<FileTensor> stored_tensors(const ModelPlan& plan, NamingScheme scheme, const WeightFiles& files) {
  return stored_tensors(plan, scheme, holds_int8(files) ? DType::kI8 : DType::kF32);
}

Status refuse_unknown_tensors(const std::vector<FileTensor>& table, const WeightFiles& files) {
  std::unordered_set<std::string> known;
  const auto add = [&](const std::string& name) {
    known.insert(name);
    const StoredTensor* stored = files.find(name);
    if (stored != nullptr && stored->info->dtype == DType::kI8) known.insert(scale_name(name));
  };
  for (const FileTensor& tensor : table) {
    add(tensor.name);
    std::ranges::for_each(tensor.aliases, add);
  }
  for (const StoredTensor& stored : files.tensors()) {
    if (!known.contains(stored.info->name) && !is_computed(stored.info->name)) {
      return invalid(files.path() + ": tensor " + stored.info->name +
                     " belongs to no parameter of this model");
    }
  }
  return {};
}

Result<StoredMatrix> find_tensor(const ModelPlan& plan, const FileTensor& wanted, const WeightFiles& files) {
  const StoredTensor* found = nullptr;
  StoredMatrix matrix;
  const auto look = [&](const std::string& name) -> Status {
    const StoredTensor* stored = files.find(name);
    if (stored == nullptr) return {};
    if (stored->info->shape != wanted.shape) {
      return invalid(files.path() + ": tensor " + name + " has shape " +
                     shape_to_string(stored->info->shape) + ", expected " + shape_to_string(wanted.shape));
    }
    std::vector<float> scales;
    if (stored->info->dtype == DType::kI8) {
      if (!all_may_be_int8(plan, wanted)) {
        return invalid(
            files.path() + ": tensor " + name +
            " has dtype I8, expected F32, BF16 or F16: it is none of the matrices that may be int8");
      }
      FATHOM_ASSIGN(scales, scales_of(*stored, files));
    }
    if (found == nullptr) {
      found = stored;
      matrix = {*stored, std::move(scales)};
    } else if (!same_values(*found, *stored) || scales != matrix.scales) {
      return invalid(files.path() + ": tensors " + found->info->name + " and " + name +
                     " are one parameter in this model but hold different values");
    }
    return {};
  };
  FATHOM_TRY(look(wanted.name));
  for (const std::string& alias : wanted.aliases) FATHOM_TRY(look(alias));
  if (found == nullptr) {
    return invalid(files.path() + ": tensor " + wanted.name + " is missing, expected with shape " +
                   shape_to_string(wanted.shape));
  }
  return matrix;
}

}  // namespace fathom
