#include "io/tensor_file.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "base/check.h"
#include "base/half.h"
#include "base/sentence.h"

namespace fathom {

namespace {

template <class Stored>
void widen(const uint8_t* from, std::span<float> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    Stored value;
    std::memcpy(&value, from + i * sizeof value, sizeof value);
    out[i] = to_float(value);
  }
}

}  // namespace

std::string shape_to_string(std::span<const int64_t> shape) {
  std::string text = "[";
  for (int64_t extent : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

std::string_view safetensors_name_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return "F64";
    case DType::kI64:
      return "I64";
    case DType::kF32:
      return "F32";
    case DType::kI32:
      return "I32";
    case DType::kBF16:
      return "BF16";
    case DType::kF16:
      return "F16";
    case DType::kU16:
      return "U16";
    case DType::kU8:
      return "U8";
    case DType::kI8:
      return "I8";
    case DType::kI4:  // never by itself: base/int4.h
      break;
  }
  return "?";
}

void TensorFile::adopt(std::span<const uint8_t> data, std::vector<TensorInfo> tensors) {
  data_ = data;
  tensors_ = std::move(tensors);
  std::sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

const TensorInfo* TensorFile::find(std::string_view name) const {
  const auto found = index_.find(std::string(name));
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

std::span<const uint8_t> TensorFile::bytes(const TensorInfo& info) const {
  FATHOM_CHECK(info.begin <= info.end && info.end <= data_.size(), info.name + " is not of this file");
  return data_.subspan(info.begin, info.end - info.begin);
}

Status copy_as_f32(const TensorFile& file, const TensorInfo& info, std::span<float> out) {
  FATHOM_CHECK(out.size() == info.elements(), info.name + ": " + std::to_string(out.size()) + " places");
  const auto from = file.bytes(info);
  switch (info.dtype) {
    case DType::kF32:
      if (!from.empty()) std::memcpy(out.data(), from.data(), from.size());
      return {};
    case DType::kBF16:
      widen<BFloat16>(from.data(), out);
      return {};
    case DType::kF16:
      widen<Half>(from.data(), out);
      return {};
    default:
      return invalid(file.path() + ": tensor " + in_quotes(info.name) + " has dtype " +
                     std::string(safetensors_name_of(info.dtype)) + ", expected F32, BF16 or F16");
  }
}

Result<std::vector<float>> read_as_f32(const TensorFile& file, std::string_view name) {
  const TensorInfo* info = file.find(name);
  if (info == nullptr) return not_found(file.path() + ": no tensor " + in_quotes(name));
  std::vector<float> values(info->elements());
  FATHOM_TRY(copy_as_f32(file, *info, values));
  return values;
}

}  // namespace fathom
