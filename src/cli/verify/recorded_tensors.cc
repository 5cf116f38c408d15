#include "cli/verify/recorded_tensors.h"

#include <cstring>

#include "base/check.h"

namespace fathom::cli::verify {

int64_t RecordedTensor::elements() const {
  int64_t count = 1;
  for (int64_t extent : shape) count *= extent;
  return count;
}

std::span<const float> RecordedTensor::part(int64_t b) const {
  const int64_t size = elements() / extent(0);
  return std::span(values).subspan(static_cast<size_t>(b * size), static_cast<size_t>(size));
}

Result<RecordedTensors> RecordedTensors::read(const std::string& path) {
  FATHOM_ASSIGN(const SafetensorsFile file, SafetensorsFile::open(path));
  RecordedTensors out;
  out.path_ = path;
  for (const TensorInfo& info : file.tensors()) {
    RecordedTensor tensor;
    tensor.shape = info.shape;
    if (info.dtype == DType::kI64) {
      tensor.ids.resize(info.elements());
      std::memcpy(tensor.ids.data(), file.bytes(info).data(), info.bytes());
    } else if (info.dtype == DType::kI32) {
      std::vector<int32_t> numbers(info.elements());
      std::memcpy(numbers.data(), file.bytes(info).data(), info.bytes());
      tensor.ids.assign(numbers.begin(), numbers.end());
    } else if (info.dtype == DType::kU8) {
      const std::span<const uint8_t> bytes = file.bytes(info);
      tensor.ids.assign(bytes.begin(), bytes.end());
    } else if (info.dtype == DType::kF64) {
      std::vector<double> numbers(info.elements());
      std::memcpy(numbers.data(), file.bytes(info).data(), info.bytes());
      tensor.values.assign(numbers.begin(), numbers.end());
    } else {
      tensor.values.resize(info.elements());
      FATHOM_TRY(copy_as_f32(file, info, tensor.values));
    }
    out.tensors_.emplace(info.name, std::move(tensor));
  }
  return out;
}

const RecordedTensor& RecordedTensors::at(const std::string& name) {
  const auto found = tensors_.find(name);
  FATHOM_CHECK(found != tensors_.end(), path_ + ": no tensor " + name);
  seen_.insert(name);
  return found->second;
}

Result<const RecordedTensor*> RecordedTensors::require(const std::string& name) {
  if (!has(name)) return invalid(path_ + ": tensor " + name + " is missing");
  return &at(name);
}

Status RecordedTensors::expect(const std::string& name, const std::vector<int64_t>& shape) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) return invalid(path_ + ": tensor " + name + " is missing");
  const RecordedTensor& tensor = found->second;
  bool fits = tensor.shape.size() == shape.size() && tensor.ids.empty();
  for (size_t i = 0; fits && i < shape.size(); ++i) fits = shape[i] < 0 || shape[i] == tensor.shape[i];
  if (fits) return {};
  const auto text = [](const std::vector<int64_t>& extents) {
    std::string out;
    for (int64_t extent : extents) out += (out.empty() ? "" : ", ") + std::to_string(extent);
    return "[" + out + "]";
  };
  return invalid(path_ + ": tensor " + name + " is " + text(tensor.shape) + ", expected floats of " +
                 text(shape));
}

std::vector<std::string> RecordedTensors::unseen() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) {
    if (!seen_.contains(name)) names.push_back(name);
  }
  return names;
}

}  // namespace fathom::cli::verify
