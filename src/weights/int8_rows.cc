#include "weights/int8_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/check.h"
#include "base/half.h"
#include "base/int4.h"
#include "weights/int4_rows.h"

namespace fathom {

float quantise_row(std::span<const float> row, int8_t* q) {
  constexpr float kLimit = 127;
  constexpr int32_t kInfinity = 0x7f800000;
  // Bits of magnitudes are in the order of magnitudes, with NaN above all.
  int32_t most = 0;
  for (const float value : row) most = std::max(most, std::bit_cast<int32_t>(value) & 0x7fffffff);
  const bool finite = most < kInfinity;
  const float scale = finite ? std::bit_cast<float>(most) / kLimit : std::numeric_limits<float>::quiet_NaN();
  if (!finite || scale == 0) {
    std::fill_n(q, row.size(), int8_t{0});
    return scale;
  }
  constexpr float kMagic = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number
  for (size_t i = 0; i < row.size(); ++i) {
    const float whole = (row[i] / scale + kMagic) - kMagic;
    q[i] = static_cast<int8_t>(std::min(std::max(whole, -kLimit), kLimit));
  }
  return scale;
}

int64_t store_rows(std::span<const float> values, int64_t columns, DType type, void* to, float* scales,
                   int64_t group, uint16_t* words) {
  if (type == DType::kF32) {
    std::ranges::copy(values, static_cast<float*>(to));
    return -1;
  }
  if (type == DType::kBF16) {
    std::ranges::transform(values, static_cast<BFloat16*>(to),
                           [](float value) { return to_bfloat16(value); });
    return -1;
  }
  const auto rows = static_cast<int64_t>(values.size()) / columns;
  if (type == DType::kI4) {
    for (int64_t r = 0; r < rows; ++r) {
      if (!quantise_row_int4(values.subspan(static_cast<size_t>(r * columns), static_cast<size_t>(columns)),
                             group, static_cast<uint8_t*>(to) + r * int4::row_bytes(columns),
                             words + r * int4::groups_of(columns, group)))
        return r;
    }
    return -1;
  }
  FATHOM_CHECK(type == DType::kI8, "rows are stored as f32, bf16, int8 or int4");
  for (int64_t r = 0; r < rows; ++r) {
    scales[r] = quantise_row(values.subspan(static_cast<size_t>(r * columns), static_cast<size_t>(columns)),
                             static_cast<int8_t*>(to) + r * columns);
    if (std::isnan(scales[r])) return r;
  }
  return -1;
}

}  // namespace fathom
