#include "weights/stored_matrix.h"

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "base/check.h"
#include "base/int4.h"
#include "weights/int4_rows.h"

namespace fathom {

namespace {

bool all_may_be(bool (*may_be)(const ModelPlan&, int32_t), const ModelPlan& plan, const FileTensor& tensor) {
  return std::ranges::all_of(tensor.pieces,
                             [&](const TensorPiece& piece) { return may_be(plan, piece.param); });
}

Status refuse_type(const WeightFiles& files, const StoredTensor& stored, const std::string& type) {
  return invalid(files.path() + ": tensor " + stored.info->name + " has dtype " +
                 std::string(safetensors_name_of(stored.info->dtype)) +
                 ", expected F32, BF16 or F16: it is none of the matrices that may be " + type);
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

// The group of which rows of `columns` values have as many words as the tensor has columns: of several, which
// mean the same, the least.
int64_t group_in(const StoredTensor& words, int64_t columns) {
  if (words.info->shape.size() != 2) return 0;
  for (const int64_t group : int4::kGroups) {
    if (int4::groups_of(columns, group) == words.info->shape[1]) return group;
  }
  return 0;
}

// Checks an int4 matrix of `rows` by `columns` and takes its words.
Status take_int4(const WeightFiles& files, int64_t rows, int64_t columns, StoredMatrix& matrix) {
  const auto& shape = matrix.stored.info->shape;
  const std::string &name = matrix.stored.info->name, words_name = groups_name(name);
  const std::vector<int64_t> expected = {rows, int4::row_bytes(columns)};
  if (shape != expected) {
    return invalid(files.path() + ": tensor " + name + " is U8 with shape " + shape_to_string(shape) +
                   ", expected " + shape_to_string(expected) + " for int4 rows of " +
                   std::to_string(columns) + " values");
  }
  const StoredTensor* words = files.find(words_name);
  if (words == nullptr) {
    return invalid(files.path() + ": tensor " + name + " is U8, and " + words_name +
                   " is missing, expected with the scales and zeros of its groups");
  }
  if (words->info->dtype != DType::kU16) {
    return invalid(files.path() + ": tensor " + words_name + " has dtype " +
                   std::string(safetensors_name_of(words->info->dtype)) + ", expected U16");
  }
  matrix.group = group_in(*words, columns);
  if (matrix.group == 0 || words->info->shape.front() != rows) {
    std::string counts;
    for (const int64_t group : int4::kGroups)
      counts += (counts.empty() ? "" : ", ") + std::to_string(int4::groups_of(columns, group));
    return invalid(files.path() + ": tensor " + words_name + " has shape " +
                   shape_to_string(words->info->shape) + ", expected " + std::to_string(rows) + " rows of " +
                   counts + " words, for groups of 32, 64 or 128 of " + std::to_string(columns) + " values");
  }
  matrix.groups = *words;
  return {};
}

// Tables that older code saved with the parameters: they follow from the configuration.
bool is_computed(const std::string& name) { return name.ends_with(".rotary_emb.inv_freq"); }

}  // namespace

std::string scale_name(const std::string& tensor) { return tensor + "_scale"; }
std::string groups_name(const std::string& tensor) { return tensor + "_groups"; }

const uint8_t* StoredMatrix::row_at(int64_t row) const {
  return stored.bytes().data() + row * row_bytes(dtype(), columns);
}

const uint8_t* StoredMatrix::words_at(int64_t row) const {
  return groups.bytes().data() + row * int4::groups_of(columns, group) * size_of(DType::kU16);
}

Status StoredMatrix::read_rows(int64_t first, int64_t count, std::span<float> out) const {
  FATHOM_CHECK(0 <= first && first + count <= rows() && static_cast<int64_t>(out.size()) == count * columns,
               stored.info->name + ": rows outside the tensor");
  if (dtype() == DType::kI4) {
    for (int64_t r = 0; r < count; ++r)
      read_row_int4(row_at(first + r), words_at(first + r), group,
                    out.subspan(static_cast<size_t>(r * columns), static_cast<size_t>(columns)));
    return {};
  }
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

std::optional<MatrixTypes::Own> quantised_type(const WeightFiles& files, const StoredTensor& stored,
                                               int64_t columns) {
  if (stored.info->dtype == DType::kI8) return MatrixTypes::Own{DType::kI8};
  const StoredTensor* words = files.find(groups_name(stored.info->name));
  if (stored.info->dtype != DType::kU8 || words == nullptr) return std::nullopt;
  return MatrixTypes::Own{DType::kI4, group_in(*words, columns)};
}

DType quantised_type(const WeightFiles& files) {
  DType type = DType::kF32;
  for (const StoredTensor& stored : files.tensors()) {
    if (stored.info->dtype == DType::kU8 && files.find(groups_name(stored.info->name)) != nullptr)
      return DType::kI4;
    if (stored.info->dtype == DType::kI8) type = DType::kI8;
  }
  return type;
}

std::vector<FileTensor> stored_tensors(const ModelPlan& plan, NamingScheme scheme, DType matrix_type) {
  std::vector<FileTensor> published = checkpoint_tensors(plan, scheme);
  if (matrix_type != DType::kI8 && matrix_type != DType::kI4) return published;
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
  return stored_tensors(plan, scheme, quantised_type(files));
}

std::string not_held(const StoredMatrix& matrix, int64_t row, DType type) {
  const std::string where =
      "tensor " + matrix.stored.info->name + " holds a value in row " + std::to_string(row);
  if (type == DType::kI8) return where + " that is not finite, expected finite ones for int8";
  return where + " that int4 does not hold, expected finite ones, those of a group no more than 3825 apart";
}

Status refuse_unknown_tensors(const std::vector<FileTensor>& table, const WeightFiles& files) {
  std::unordered_set<std::string> known;
  const auto add = [&](const std::string& name) {
    known.insert(name);
    const StoredTensor* stored = files.find(name);
    if (stored != nullptr && stored->info->dtype == DType::kI8) known.insert(scale_name(name));
    if (stored != nullptr && stored->info->dtype == DType::kU8) known.insert(groups_name(name));
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
  int64_t columns = 1;
  for (size_t d = 1; d < wanted.shape.size(); ++d) columns *= wanted.shape[d];
  const auto look = [&](const std::string& name) -> Status {
    const StoredTensor* stored = files.find(name);
    if (stored == nullptr) return {};
    StoredMatrix here;
    here.stored = *stored;
    here.columns = columns;
    if (stored->info->dtype == DType::kU8) {
      if (!all_may_be(may_be_int4, plan, wanted)) return refuse_type(files, *stored, "int4");
      FATHOM_TRY(take_int4(files, wanted.shape.front(), columns, here));
    } else if (stored->info->shape != wanted.shape) {
      return invalid(files.path() + ": tensor " + name + " has shape " +
                     shape_to_string(stored->info->shape) + ", expected " + shape_to_string(wanted.shape));
    }
    if (stored->info->dtype == DType::kI8) {
      if (!all_may_be(may_be_int8, plan, wanted)) return refuse_type(files, *stored, "int8");
      FATHOM_ASSIGN(here.scales, scales_of(*stored, files));
    }
    if (found == nullptr) {
      found = stored;
      matrix = std::move(here);
    } else if (!same_values(*found, *stored) || here.scales != matrix.scales || here.group != matrix.group ||
               (here.group > 0 && !same_values(here.groups, matrix.groups))) {
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
