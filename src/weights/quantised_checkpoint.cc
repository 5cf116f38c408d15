#include "weights/quantised_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

#include "base/check.h"
#include "plan/matrix_types.h"
#include "weights/int8_rows.h"
#include "weights/stored_matrix.h"
#include "weights/streamed_tensors.h"

namespace fathom {

namespace {

// Consecutive rows of a stored tensor.
struct SourceRows {
  const StoredMatrix* matrix;
  int64_t first, count;
};

// The rows of each tensor to be written, in order, where the source has them.
class SourceMap {
 public:
  static Result<SourceMap> of(const ModelSource& source) {
    SourceMap map;
    const std::vector<FileTensor> table = checkpoint_tensors(source.plan, source.scheme);
    FATHOM_TRY(refuse_unknown_tensors(table, *source.files));
    map.matrices_.reserve(table.size());  // their addresses are kept
    for (const FileTensor& tensor : table) {
      FATHOM_ASSIGN(StoredMatrix matrix, find_tensor(source.plan, tensor, *source.files));
      const StoredMatrix* place = &map.matrices_.emplace_back(std::move(matrix));
      for (const TensorPiece& piece : tensor.pieces)
        map.pieces_[{piece.param, piece.param_row}] = {place, piece.file_row, piece.rows};
    }
    return map;
  }

  std::vector<SourceRows> rows_of(const FileTensor& tensor) const {
    std::vector<TensorPiece> pieces = tensor.pieces;
    std::ranges::sort(pieces, {}, &TensorPiece::file_row);
    std::vector<SourceRows> rows;
    for (const TensorPiece& piece : pieces) rows.push_back(pieces_.at({piece.param, piece.param_row}));
    return rows;
  }

 private:
  std::vector<StoredMatrix> matrices_;
  std::map<std::pair<int32_t, int64_t>, SourceRows> pieces_;
};

// Rows of float values as int8, some at a time.
class RowQuantiser {
 public:
  explicit RowQuantiser(Parallel& parallel) : parallel_(parallel) {}

  // Calls use() after each run of rows, whose q, scale and error are below then.
  Status run(const SourceRows& rows, const std::function<Status()>& use) {
    const int64_t columns = rows.matrix->row_elements();
    const int64_t most = std::max<int64_t>(1, kValuesAtATime / columns);
    for (int64_t at = 0; at < rows.count; at += most) {
      const int64_t count = std::min(most, rows.count - at);
      values.resize(static_cast<size_t>(count * columns));
      q.resize(values.size());
      scale.resize(static_cast<size_t>(count));
      FATHOM_TRY(rows.matrix->read_rows(rows.first + at, count, values));
      parallel_.run(count, std::max<int64_t>(1, 4096 / columns), [&](int64_t begin, int64_t end, int) {
        for (int64_t r = begin; r < end; ++r)
          scale[static_cast<size_t>(r)] = quantise_row(
              std::span(values).subspan(static_cast<size_t>(r * columns), static_cast<size_t>(columns)),
              q.data() + r * columns);
      });
      for (int64_t r = 0; r < count; ++r) {
        if (!std::isnan(scale[static_cast<size_t>(r)])) continue;
        return invalid("tensor " + rows.matrix->stored.info->name + " holds a value in row " +
                       std::to_string(rows.first + at + r) +
                       " that is not finite, expected finite ones for int8");
      }
      FATHOM_TRY(use());
    }
    return {};
  }

  std::vector<float> values;  // [rows, columns]
  std::vector<int8_t> q;      // [rows, columns]
  std::vector<float> scale;   // [rows]

 private:
  Parallel& parallel_;
};

// Sums of what int8 changes.
struct ErrorSums {
  double errors = 0, squares = 0, largest_error = 0, largest = 0;

  void add(const RowQuantiser& rows) {
    const size_t columns = rows.values.size() / rows.scale.size();
    for (size_t i = 0; i < rows.values.size(); ++i) {
      const double value = rows.values[i];
      const double error = value - double{rows.scale[i / columns]} * rows.q[i];
      errors += error * error;
      squares += value * value;
      largest_error = std::max(largest_error, std::fabs(error));
      largest = std::max(largest, std::fabs(value));
    }
  }
  void write_to(QuantisedTensor& tensor) const {
    tensor.relative_error = squares > 0 ? std::sqrt(errors / squares) : 0;
    tensor.largest_error = largest > 0 ? largest_error / largest : 0;
  }
};

template <class Values>
std::span<const uint8_t> bytes_in(const Values& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(values[0])};
}

}  // namespace

int64_t quantising_bytes(const ModelPlan& plan) {
  int64_t values = kValuesAtATime, rows = 1;
  for (const Param& param : plan.params) {
    if (!is_matrix(param.role)) continue;
    values = std::max(values, param.shape.back());
    rows = std::max(rows, kValuesAtATime / param.shape.back());
  }
  return values * (size_of(DType::kF32) + size_of(DType::kI8)) + rows * size_of(DType::kF32);
}

Result<std::vector<QuantisedTensor>> write_quantised_weights(const std::string& directory,
                                                             const ModelSource& source, Parallel& parallel,
                                                             const std::function<Status(uint64_t)>& written,
                                                             uint64_t max_shard_bytes) {
  if (holds_int8(*source.files)) return invalid(source.files->path() + ": the matrices are int8 already");
  FATHOM_ASSIGN(const SourceMap map, SourceMap::of(source));
  struct Target {
    std::vector<SourceRows> rows;
    QuantisedTensor* report;
  };
  const std::vector<FileTensor> table = stored_tensors(source.plan, source.scheme, DType::kI8);
  std::vector<QuantisedTensor> reports(table.size());
  std::vector<TensorSpec> specs;
  std::unordered_map<std::string, Target> values_of, scales_of;
  for (size_t t = 0; t < table.size(); ++t) {
    const FileTensor& tensor = table[t];
    const std::vector<SourceRows> rows = map.rows_of(tensor);
    QuantisedTensor& report = reports[t];
    report = {.name = tensor.name, .shape = tensor.shape, .from = rows.front().matrix->dtype()};
    report.to = may_be_int8(source.plan, tensor.pieces.front().param) ? DType::kI8 : report.from;
    int64_t elements = 1;
    for (const int64_t extent : tensor.shape) elements *= extent;
    report.bytes_from = elements * size_of(report.from);
    report.bytes_to = elements * size_of(report.to);
    specs.push_back({tensor.name, report.to, tensor.shape});
    values_of[tensor.name] = {rows, &report};
    if (report.to != DType::kI8) continue;
    report.bytes_to += tensor.shape.front() * size_of(DType::kF32);
    specs.push_back({scale_name(tensor.name), DType::kF32, {tensor.shape.front()}});
    scales_of[scale_name(tensor.name)] = {rows, nullptr};
  }

  RowQuantiser quantiser(parallel);
  uint64_t total = 0;
  const TensorData data = [&](const std::string& name, const AppendBytes& append) -> Status {
    const auto hand_on = [&](std::span<const uint8_t> bytes) -> Status {
      FATHOM_TRY(append(bytes));
      total += bytes.size();
      return written ? written(total) : Status();
    };
    if (const auto scales = scales_of.find(name); scales != scales_of.end()) {
      for (const SourceRows& rows : scales->second.rows)
        FATHOM_TRY(quantiser.run(rows, [&] { return hand_on(bytes_in(quantiser.scale)); }));
      return {};
    }
    const Target& target = values_of.at(name);
    ErrorSums errors;
    for (const SourceRows& rows : target.rows) {
      if (target.report->to == DType::kI8) {
        FATHOM_TRY(quantiser.run(rows, [&] {
          errors.add(quantiser);
          return hand_on(bytes_in(quantiser.q));
        }));
        continue;
      }
      const auto row = static_cast<size_t>(rows.matrix->row_elements() * size_of(target.report->to));
      FATHOM_TRY(hand_on(rows.matrix->stored.bytes().subspan(static_cast<size_t>(rows.first) * row,
                                                             static_cast<size_t>(rows.count) * row)));
    }
    errors.write_to(*target.report);
    return {};
  };
  // No "pt" as the format: a reader that does not know of scales must not take the numbers for weights.
  const Status status =
      write_weight_files(directory, specs, data, {{"format", "fathom-int8"}}, max_shard_bytes);
  if (!status.ok()) return status.error();
  return reports;
}

}  // namespace fathom
