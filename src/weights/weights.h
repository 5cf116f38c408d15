// The parameters of a plan as the engine reads them: one dense array each, float, bfloat16, int8 with a
// scale for each row or int4 with a word for each group of a row (base/int4.h), read-only. An array is owned
// here or lies in a mapped checkpoint that is kept alive here.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/dtype.h"
#include "base/int4.h"
#include "plan/model_plan.h"

namespace fathom {

class Weights {
 public:
  struct Array {
    const void* data = nullptr;
    DType type = DType::kF32;      // kF32, kBF16, kI8 or kI4
    const float* scale = nullptr;  // [rows] of int8, else null
    const void* groups = nullptr;  // words [rows, groups] of int4, of any alignment, else null
    int64_t group = 0;             // columns of a group of int4, else 0
  };

  explicit Weights(size_t num_params) : arrays_(num_params) {}

  const Array& at(int32_t param) const { return arrays_[static_cast<size_t>(param)]; }
  // For parameters that are always float: norms, biases, convolution, SSM, routers.
  const float* f32(int32_t param) const {
    FATHOM_CHECK(at(param).type == DType::kF32, "parameter " + std::to_string(param) + " is not float");
    return static_cast<const float*>(at(param).data);
  }

  // Memory that the parameter's values are to be written to; owned by this object.
  void* allocate(int32_t param, DType type, int64_t rows, int64_t columns) {
    owned_.emplace_back(rows * row_bytes(type, columns));
    Array& array = arrays_[static_cast<size_t>(param)];
    array.data = owned_.back().as();
    array.type = type;
    return owned_.back().as();
  }
  // The same for the scales of an int8 parameter's rows.
  float* allocate_scale(int32_t param, int64_t rows) {
    owned_.emplace_back(rows * size_of(DType::kF32));
    arrays_[static_cast<size_t>(param)].scale = owned_.back().as<float>();
    return owned_.back().as<float>();
  }
  // The same for the words of an int4 parameter's groups.
  uint16_t* allocate_groups(int32_t param, int64_t rows, int64_t columns, int64_t group) {
    owned_.emplace_back(rows * int4::groups_of(columns, group) * size_of(DType::kU16));
    borrow_groups(param, owned_.back().as(), group);
    return owned_.back().as<uint16_t>();
  }
  // Words that lie where the parameter's values are borrowed from.
  void borrow_groups(int32_t param, const void* words, int64_t group) {
    arrays_[static_cast<size_t>(param)].groups = words;
    arrays_[static_cast<size_t>(param)].group = group;
  }
  // A view into memory that `keep` keeps alive.
  void borrow(int32_t param, DType type, const void* data, std::shared_ptr<const void> keep) {
    Array& array = arrays_[static_cast<size_t>(param)];
    array.data = data;
    array.type = type;
    kept_.push_back(std::move(keep));
  }

  int64_t bytes_owned() const {
    int64_t total = 0;
    for (const AlignedBuffer& buffer : owned_) total += buffer.bytes();
    return total;
  }

 private:
  std::vector<Array> arrays_;
  std::vector<AlignedBuffer> owned_;
  std::vector<std::shared_ptr<const void>> kept_;
};

}  // namespace fathom
