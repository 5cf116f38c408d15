#include "io/tensor_statistics.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/half.h"

namespace fathom {

namespace {

double as_double(BFloat16 value) { return static_cast<double>(to_float(value)); }
double as_double(Half value) { return static_cast<double>(to_float(value)); }
template <class T>
double as_double(T value) {
  return static_cast<double>(value);
}

template <class Stored>
TensorStatistics collect(std::span<const uint8_t> bytes) {
  TensorStatistics out;
  out.elements = bytes.size() / sizeof(Stored);
  uint64_t finite = 0;
  double squares = 0;  // sum of squared distances from the running mean (Welford 1962)
  for (uint64_t i = 0; i < out.elements; ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof stored, sizeof stored);
    const double value = as_double(stored);
    if (std::isnan(value)) {
      ++out.nan;
    } else if (std::isinf(value)) {
      ++out.infinite;
    } else {
      out.min = finite == 0 ? value : std::min(out.min, value);
      out.max = finite == 0 ? value : std::max(out.max, value);
      if (value == 0) ++out.zeros;
      ++finite;
      const double distance = value - out.mean;
      out.mean += distance / static_cast<double>(finite);
      squares += distance * (value - out.mean);
    }
  }
  if (finite > 0) out.deviation = std::sqrt(squares / static_cast<double>(finite));
  return out;
}

}  // namespace

TensorStatistics tensor_statistics(const TensorFile& file, const TensorInfo& info) {
  const auto bytes = file.bytes(info);
  switch (info.dtype) {
    case DType::kF64:
      return collect<double>(bytes);
    case DType::kF32:
      return collect<float>(bytes);
    case DType::kBF16:
      return collect<BFloat16>(bytes);
    case DType::kF16:
      return collect<Half>(bytes);
    case DType::kI64:
      return collect<int64_t>(bytes);
    case DType::kI32:
      return collect<int32_t>(bytes);
    case DType::kU16:
      return collect<uint16_t>(bytes);
    case DType::kU8:
      return collect<uint8_t>(bytes);
    case DType::kI8:
      return collect<int8_t>(bytes);
    case DType::kI4:
      break;
  }
  return {};
}

}  // namespace fathom
