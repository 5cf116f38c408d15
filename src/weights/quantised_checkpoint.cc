#include "weights/quantised_checkpoint.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <unordered_map>

#include "base/check.h"
#include "base/int4.h"
#include "weights/int4_rows.h"
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

// Rows of float values as int8 or int4, some at a time.
class RowQuantiser {
 public:
  explicit RowQuantiser(Parallel& parallel) : parallel_(parallel) {}

  // Calls use() after each run of rows, of which is below then what it is made of.
  Status run(const SourceRows& rows, const MatrixTypes::Own& to, const std::function<Status()>& use) {
    columns = rows.matrix->row_elements();
    type = to;
    const int64_t most = std::max<int64_t>(1, kValuesAtATime / columns);
    const int64_t row_size = row_bytes(to.type, columns), words_of_row = words_in_row();
    for (int64_t at = 0; at < rows.count; at += most) {
      const int64_t count = std::min(most, rows.count - at);
      values.resize(static_cast<size_t>(count * columns));
      q.resize(static_cast<size_t>(count * row_size));
      scale.resize(static_cast<size_t>(count));
      words.resize(static_cast<size_t>(count * words_of_row));
      FATHOM_TRY(rows.matrix->read_rows(rows.first + at, count, values));
      std::atomic<int64_t> bad{count};
      parallel_.run(count, std::max<int64_t>(1, 4096 / columns), [&](int64_t begin, int64_t end, int) {
        const auto first = static_cast<size_t>(begin * columns),
                   some = static_cast<size_t>((end - begin) * columns);
        const int64_t here =
            store_rows(std::span(values).subspan(first, some), columns, to.type, q.data() + begin * row_size,
                       scale.data() + begin, to.group, words.data() + begin * words_of_row);
        // Of rows that are bad the first one is named, whoever came upon it.
        for (int64_t known = bad; here >= 0 && begin + here < known;)
          bad.compare_exchange_weak(known, begin + here);
      });
      if (bad < count) return invalid(not_held(*rows.matrix, rows.first + at + bad, to.type));
      FATHOM_TRY(use());
    }
    return {};
  }

  // The values that row r stands for.
  void read(int64_t r, std::span<float> row) const {
    const uint8_t* const from = q.data() + r * row_bytes(type.type, columns);
    if (type.type == DType::kI4)
      return read_row_int4(from, words.data() + r * words_in_row(), type.group, row);
    for (size_t i = 0; i < row.size(); ++i)
      row[i] = scale[static_cast<size_t>(r)] * static_cast<float>(static_cast<int8_t>(from[i]));
  }

  int64_t columns = 0;
  MatrixTypes::Own type{};
  std::vector<float> values;    // [rows, columns]
  std::vector<uint8_t> q;       // bytes of the rows
  std::vector<float> scale;     // [rows], of int8
  std::vector<uint16_t> words;  // [rows, groups], of int4

 private:
  int64_t words_in_row() const { return type.type == DType::kI4 ? int4::groups_of(columns, type.group) : 0; }

  Parallel& parallel_;
};

// Sums of what is changed.
struct ErrorSums {
  double errors = 0, squares = 0, largest_error = 0, largest = 0;

  void add(const RowQuantiser& rows) {
    std::vector<float> read(static_cast<size_t>(rows.columns));
    for (size_t r = 0; r < rows.scale.size(); ++r) {
      rows.read(static_cast<int64_t>(r), read);
      for (size_t i = 0; i < read.size(); ++i) {
        const double value = rows.values[r * read.size() + i];
        const double error = value - double{read[i]};
        errors += error * error;
        squares += value * value;
        largest_error = std::max(largest_error, std::fabs(error));
        largest = std::max(largest, std::fabs(value));
      }
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
  const int64_t words = values / int4::kChunk + rows;  // at most
  return values * (size_of(DType::kF32) + size_of(DType::kI8)) + rows * size_of(DType::kF32) + 2 * words;
}

Result<std::vector<QuantisedTensor>> write_quantised_weights(const std::string& directory,
                                                             const ModelSource& source,
                                                             const MatrixTypes& matrices, Parallel& parallel,
                                                             const std::function<Status(uint64_t)>& written,
                                                             uint64_t max_shard_bytes) {
  if (const DType held = quantised_type(*source.files); held != DType::kF32)
    return invalid(source.files->path() + ": the matrices are " + std::string(name_of(held)) + " already");
  FATHOM_ASSIGN(const SourceMap map, SourceMap::of(source));
  struct Target {
    std::vector<SourceRows> rows;
    MatrixTypes::Own type;
    QuantisedTensor* report;
  };
  const std::vector<FileTensor> table = stored_tensors(source.plan, source.scheme, matrices);
  std::vector<QuantisedTensor> reports(table.size());
  std::vector<TensorSpec> specs;
  std::unordered_map<std::string, Target> values_of, scales_of;
  for (size_t t = 0; t < table.size(); ++t) {
    const FileTensor& tensor = table[t];
    const std::vector<SourceRows> rows = map.rows_of(tensor);
    const int32_t param = tensor.pieces.front().param;
    QuantisedTensor& report = reports[t];
    report = {.name = tensor.name, .shape = tensor.shape, .from = rows.front().matrix->dtype()};
    report.to = may_be_int8(source.plan, param) ? type_of(source.plan, param, matrices) : report.from;
    report.group = group_of(source.plan, param, matrices);
    int64_t columns = 1;
    for (size_t d = 1; d < tensor.shape.size(); ++d) columns *= tensor.shape[d];
    const int64_t count = tensor.shape.front();
    report.bytes_from = count * row_bytes(report.from, columns);
    report.bytes_to = count * row_bytes(report.to, columns);
    const Target target{rows, {report.to, report.group}, &report};
    values_of[tensor.name] = target;
    if (report.to == DType::kI4) {
      const int64_t words = int4::groups_of(columns, report.group);
      report.bytes_to += count * words * size_of(DType::kU16);
      specs.push_back({tensor.name, DType::kU8, {count, int4::row_bytes(columns)}});
      specs.push_back({groups_name(tensor.name), DType::kU16, {count, words}});
      scales_of[groups_name(tensor.name)] = target;
    } else {
      specs.push_back({tensor.name, report.to, tensor.shape});
    }
    if (report.to == DType::kI8) {
      report.bytes_to += count * size_of(DType::kF32);
      specs.push_back({scale_name(tensor.name), DType::kF32, {count}});
      scales_of[scale_name(tensor.name)] = target;
    }
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
        FATHOM_TRY(quantiser.run(rows, scales->second.type, [&] {
          return hand_on(quantiser.words.empty() ? bytes_in(quantiser.scale) : bytes_in(quantiser.words));
        }));
      return {};
    }
    const Target& target = values_of.at(name);
    ErrorSums errors;
    for (const SourceRows& rows : target.rows) {
      if (target.type.type == DType::kI8 || target.type.type == DType::kI4) {
        FATHOM_TRY(quantiser.run(rows, target.type, [&] {
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
  const Status status = write_weight_files(
      directory, specs, data, {{"format", "fathom-" + std::string(name_of(matrices))}}, max_shard_bytes);
  if (!status.ok()) return status.error();
  return reports;
}

}  // namespace fathom
