#include "io/finite_values.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace fathom {

namespace {

// A number is not finite if all bits of its exponent are set, whatever the format.
struct Format {
  uint64_t exponent = 0;  // its bits
  uint64_t mantissa = 0;
};

Format format_of(DType type) {
  switch (type) {
    case DType::kF64:
      return {0x7ff0'0000'0000'0000, 0x000f'ffff'ffff'ffff};
    case DType::kF32:
      return {0x7f80'0000, 0x007f'ffff};
    case DType::kBF16:
      return {0x7f80, 0x007f};
    case DType::kF16:
      return {0x7c00, 0x03ff};
    default:
      return {};
  }
}

// Blocks without a branch inside, so that the compiler may use vectors.
template <class Bits>
std::optional<uint64_t> search(std::span<const uint8_t> bytes, Bits exponent) {
  constexpr uint64_t kBlock = 4096;
  const uint64_t count = bytes.size() / sizeof(Bits);
  Bits block[kBlock];
  for (uint64_t begin = 0; begin < count; begin += kBlock) {
    const uint64_t here = std::min(kBlock, count - begin);
    std::memcpy(block, bytes.data() + begin * sizeof(Bits), here * sizeof(Bits));
    Bits found = 0;
    for (uint64_t i = 0; i < here; ++i) found |= static_cast<Bits>((block[i] & exponent) == exponent);
    if (found == 0) continue;
    for (uint64_t i = 0; i < here; ++i) {
      if ((block[i] & exponent) == exponent) return begin + i;
    }
  }
  return std::nullopt;
}

uint64_t bits_at(const StoredTensor& tensor, uint64_t index) {
  const auto size = static_cast<uint64_t>(size_of(tensor.info->dtype));
  uint64_t bits = 0;  // little-endian, as the file is
  std::memcpy(&bits, tensor.bytes().data() + index * size, size);
  return bits;
}

}  // namespace

std::optional<uint64_t> first_not_finite(const StoredTensor& tensor) {
  const uint64_t exponent = format_of(tensor.info->dtype).exponent;
  if (exponent == 0) return std::nullopt;
  switch (size_of(tensor.info->dtype)) {
    case 8:
      return search<uint64_t>(tensor.bytes(), exponent);
    case 4:
      return search<uint32_t>(tensor.bytes(), static_cast<uint32_t>(exponent));
    default:
      return search<uint16_t>(tensor.bytes(), static_cast<uint16_t>(exponent));
  }
}

Status check_finite(const WeightFiles& files) {
  for (const StoredTensor& tensor : files.tensors()) {
    const std::optional<uint64_t> at = first_not_finite(tensor);
    if (!at) continue;
    const bool nan = (bits_at(tensor, *at) & format_of(tensor.info->dtype).mantissa) != 0;
    return invalid(tensor.file->path() + ": tensor " + tensor.info->name + ": element " +
                   std::to_string(*at) + " is " + (nan ? "not a number" : "infinite") +
                   ", expected finite values");
  }
  return {};
}

}  // namespace fathom
